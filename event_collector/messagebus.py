"""Messages and commands about a queue, and the bus that dispatches them to their handlers."""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import structlog

__all__ = ["BusEvent", "BusEventHandler", "BusEventQueue", "Command", "Message", "MessageBus"]


class Message:
    """The base of events, each dispatched to any number of handlers."""


class Command:
    """The base of requests, each dispatched to one handler."""


BusEvent: TypeAlias = Message | Command
BusEventQueue: TypeAlias = deque[BusEvent]
BusEventHandler: TypeAlias = Callable[[Any, BusEventQueue], Awaitable[None]]


def _check_handler(handler: object) -> None:
    if not callable(handler):
        raise TypeError(f"a handler of the message bus is `async (event, queue)`, not {handler!r}")


class MessageBus:
    """Dispatches messages to all their handlers, in the order of registration, and commands to their only handler.

    A handler is `async (event, queue)`. Messages and commands that it appends to the deque `queue` are dispatched next.
    An exception of a handler is logged; the other handlers are called all the same.
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
        """Register a handler for the messages of exactly this class."""
        _check_handler(handler)
        self.msg_handlers[msg].append(handler)

    def del_msg_handler(self, msg: type[Message]) -> None:
        """Remove all handlers of this message; a no-op if there is none."""
        self.msg_handlers.pop(msg, None)

    def add_cmd_handler(self, cmd: type[Command], handler: BusEventHandler) -> None:
        """Register the handler of this command, replacing the previous one."""
        _check_handler(handler)
        self.cmd_handlers[cmd] = handler

    def del_cmd_handler(self, cmd: type[Command]) -> None:
        """Remove the handler of this command; a no-op if there is none."""
        self.cmd_handlers.pop(cmd, None)

    async def dispatch(self, evt: BusEvent) -> None:
        """Call the handlers of `evt`, then those of the events that they appended, until the queue is empty.

        A no-op without a handler. Cancellation reaches the handler that runs and ends the dispatch.
        """
        queue: BusEventQueue = deque([evt])
        while queue:
            event = queue.popleft()
            if isinstance(event, Command):
                await self.handle_cmd(event, queue)
            else:
                await self.handle_msg(event, queue)

    async def handle_msg(self, evt: Message, queue: BusEventQueue) -> None:
        """Call the handlers of this message's class; those of its base classes are not called."""
        for handler in tuple(self.msg_handlers.get(type(evt), ())):
            await self._call(handler, evt, queue)

    async def handle_cmd(self, evt: Command, queue: BusEventQueue) -> None:
        """Call the handler of this command, if there is one."""
        handler = self.cmd_handlers.get(type(evt))
        if handler is not None:
            await self._call(handler, evt, queue)

    async def _call(self, handler: BusEventHandler, evt: BusEvent, queue: BusEventQueue) -> None:
        try:
            await handler(evt, queue)
        except Exception as exc:
            name = getattr(handler, "__qualname__", repr(handler))
            self._log.error("message bus handler failed", handler=name, message_type=type(evt).__name__, exc_info=exc)
