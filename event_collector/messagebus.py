"""Messages and commands about a queue, and the bus that carries them to whoever registered for them."""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import structlog

__all__ = ["BusEvent", "BusEventHandler", "BusEventQueue", "Command", "Message", "MessageBus"]


class Message:
    """Something that happened: any number of handlers may want to know."""


class Command:
    """Something to be done: one handler does it."""


BusEvent: TypeAlias = Message | Command
BusEventQueue: TypeAlias = deque[BusEvent]
BusEventHandler: TypeAlias = Callable[[Any, BusEventQueue], Awaitable[None]]


class MessageBus:
    """Carries messages to all of their handlers, in the order of registration, and a command to its one.

    A handler is `async (event, queue)`; what it appends to the deque `queue` is dispatched after it. A
    handler that raises is logged and keeps nobody else from being called.
    """

    def __init__(
        self,
        msg_handlers: dict[type[Message], list[BusEventHandler]] | None = None,
        cmd_handlers: dict[type[Command], BusEventHandler] | None = None,
        *,
        log: Any = None,
    ) -> None:
        self.msg_handlers: defaultdict[type[Message], list[BusEventHandler]] = defaultdict(list)
        for message, handlers in (msg_handlers or {}).items():
            self.msg_handlers[message].extend(handlers)
        self.cmd_handlers: dict[type[Command], BusEventHandler] = dict(cmd_handlers or {})
        self._log = log if log is not None else structlog.get_logger()

    def add_msg_handler(self, msg: type[Message], handler: BusEventHandler) -> None:
        """Call `handler` for every message of this class, after those registered before it."""
        self.msg_handlers[msg].append(handler)

    def del_msg_handler(self, msg: type[Message]) -> None:
        """Forget all handlers of this message; none registered is no error."""
        self.msg_handlers.pop(msg, None)

    def add_cmd_handler(self, cmd: type[Command], handler: BusEventHandler) -> None:
        """Let `handler` carry out this command, in place of the one before."""
        self.cmd_handlers[cmd] = handler

    def del_cmd_handler(self, cmd: type[Command]) -> None:
        """Forget the handler of this command; none registered is no error."""
        self.cmd_handlers.pop(cmd, None)

    async def dispatch(self, evt: BusEvent) -> None:
        """Call the handlers of `evt`, then those of whatever they queued, until nothing is left.

        Without a handler nothing happens. Cancelling it stops between or inside handlers.
        """
        queue: BusEventQueue = deque([evt])
        while queue:
            event = queue.popleft()
            if isinstance(event, Command):
                await self.handle_cmd(event, queue)
            else:
                await self.handle_msg(event, queue)

    async def handle_msg(self, evt: Message, queue: BusEventQueue) -> None:
        """Call every handler of this message, and only those of its own class."""
        for handler in tuple(self.msg_handlers.get(type(evt), ())):
            await self._call(handler, evt, queue)

    async def handle_cmd(self, evt: Command, queue: BusEventQueue) -> None:
        """Call the one handler of this command, if there is one."""
        handler = self.cmd_handlers.get(type(evt))
        if handler is not None:
            await self._call(handler, evt, queue)

    async def _call(self, handler: BusEventHandler, evt: BusEvent, queue: BusEventQueue) -> None:
        try:
            await handler(evt, queue)
        except Exception as exc:
            name = getattr(handler, "__qualname__", repr(handler))
            self._log.error(
                "message bus handler failed", handler=name, message=type(evt).__name__, exc_info=exc
            )
