"""`event-collector web`: a web page about running queues, served by a process of its own."""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from event_collector.command.monitor_client import path_of
from event_collector.command.options import UsageError, add_command

if TYPE_CHECKING:
    from event_collector.web.site import Site

PORT: Final = 8790
RECORD_LIMIT: Final = 1_000_000_000
"""Bytes of a recording: about a day."""
LEAST_RECORD_LIMIT: Final = 1_000_000
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
SHORTEST_TOKEN: Final = 16
GRACE: Final = 1
"""Seconds that pages which are being answered have at the end."""

DESCRIPTION = """\
Serve a web page about running queues. Each queue was made with monitor=PATH, or run with `event-collector run
--monitor PATH`; with monitor=Monitor(PATH, control=True) the page can act on it too.

The page has a process of its own: the watched program imports nothing for it, and a page about a program whose event
loop is blocked says so. FILE is a recording of --record, which is replayed, or the output of `event-collector bench
--json`; several of these are shown side by side.
"""

EPILOG = """\
examples:
  event-collector web /run/app/queue.sock
  event-collector web /run/app/*.sock --port 8080
  event-collector web /run/app/queue.sock --record monday.ndjson
  event-collector web monday.ndjson
  event-collector web before.json after.json
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the subcommand."""
    parser = add_command(subparsers, "web", run, "serve a web page about running queues", DESCRIPTION, EPILOG)
    parser.add_argument(
        "paths", metavar="SOCKET|FILE", nargs="*",
        help="sockets of queues, a recording, or reports of benchmarks (default: $EVENT_COLLECTOR_MONITOR)",
    )  # fmt: skip
    parser.add_argument("--port", type=_port, default=PORT, help="port (default: %(default)s; 0 takes a free one)")
    parser.add_argument("--host", default=LOOPBACK[0], help="address (default: %(default)s); others need --token-file")
    parser.add_argument("--token-file", metavar="FILE", help="visitors have to enter the token in this file once")
    parser.add_argument(
        "--name", dest="names", metavar="NAME", action="append", default=[],
        help="a host name under which browsers may ask for the page, beside localhost; may be repeated",
    )  # fmt: skip
    parser.add_argument("--record", metavar="FILE", help="write all that the queue sends to a new file")
    parser.add_argument(
        "--record-limit", metavar="BYTES", type=_limit, default=RECORD_LIMIT,
        help="size of the recording (default: %(default)s); the newer half is in FILE, the older one in FILE.1",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run the subcommand and return its exit status; raises UsageError."""
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError:
        from event_collector.values.extras import install_line

        raise UsageError(f"the page needs starlette, uvicorn and jinja2: {install_line('web')}") from None
    paths = options.paths or [path_of(None)]
    token = _token(options)
    signal.signal(signal.SIGTERM, _exit)
    with _listen(options.host, options.port) as listener, _recorder(options, paths) as record:
        site, jobs = _open(paths, record)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"event-collector web: http://{shown}:{port}/ shows {', '.join(paths)}", flush=True)
        try:
            asyncio.run(_serve(site, jobs, listener, options.names, token))
        except KeyboardInterrupt:  # the regular end
            return 0
    return 0


def _exit(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"takes a port from 0 to 65535, not {text!r}")
    return int(text)


def _limit(text: str) -> int:
    if not text.isdigit() or int(text) < LEAST_RECORD_LIMIT:
        raise argparse.ArgumentTypeError(f"takes a number of bytes from {LEAST_RECORD_LIMIT} on, not {text!r}")
    return int(text)


def _token(options: argparse.Namespace) -> str | None:
    """Return the token that visitors need; None if the page is for this machine and has none."""
    if options.token_file is None:
        if options.host not in LOOPBACK:
            raise UsageError(
                f"--host {options.host} lets others reach the page: name a --token-file with a token of at least "
                f"{SHORTEST_TOKEN} characters that they have to enter"
            )
        return None
    try:
        file = Path(options.token_file)
        mode, token = file.stat().st_mode, file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"cannot read the token file {options.token_file}: {exc}") from None
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        raise UsageError(f"other users can read the token file {options.token_file}: chmod 600 it")
    if len(token) < SHORTEST_TOKEN:
        raise UsageError(f"the token in {options.token_file} has fewer than {SHORTEST_TOKEN} characters")
    return token


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as exc:
        raise UsageError(f"cannot listen on {host}, port {port}: {exc.strerror or exc}") from None


@contextlib.contextmanager
def _recorder(options: argparse.Namespace, sources: Sequence[str]) -> Iterator[Callable[[bytes], None] | None]:
    path: str | None = options.record
    if path is None:
        yield None
        return
    from event_collector.web.line_recorder import LineRecorder

    def warn(reason: str) -> None:
        print(f"event-collector web: the recording in {path} has ended: {reason}", file=sys.stderr)

    if len(sources) != 1 or _is_file(sources[0]):
        raise UsageError("--record takes the lines of one socket")
    try:
        recording = LineRecorder(path, options.record_limit, warn)
    except FileExistsError as exc:
        raise UsageError(f"{exc.filename or exc} exists: record to a new file") from None
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from None
    with contextlib.closing(recording):
        yield recording.write


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


Job = Callable[[], Coroutine[Any, Any, None]]


def _open(paths: Sequence[str], record: Callable[[bytes], None] | None) -> tuple["Site", list[Job]]:
    """Return what the page shows, and what has to run for it."""
    from event_collector.benchmark.report import Report
    from event_collector.web.bench_reports import decode_report
    from event_collector.web.control_link import SocketLink
    from event_collector.web.replay import RecordedLines, Replay
    from event_collector.web.site import Site
    from event_collector.web.socket_reader import follow_socket
    from event_collector.web.watched import Watched

    queues, jobs = list[Watched](), list[Job]()
    links, replays, reports = dict[int, SocketLink](), dict[int, Replay](), dict[str, Report]()
    for path in paths:
        watched = Watched(len(queues) + 1, path, is_replay=_is_file(path))
        if not watched.is_replay:
            links[watched.number] = SocketLink(path)
            jobs.append(partial(follow_socket, path, watched, record))
        else:
            try:
                text = Path(path).read_bytes() if path.endswith(".json") else b""
                if text:
                    reports[Path(path).stem] = decode_report(text)
                    continue
                replay = Replay(RecordedLines(Path(path)), watched)
            except (OSError, ValueError) as exc:
                raise UsageError(f"{path}: {exc}") from None
            replays[watched.number] = replay
            jobs.append(replay.run)
        queues.append(watched)
    return Site(queues, links, replays=replays, reports=reports), jobs


async def _serve(
    site: "Site", jobs: Sequence[Job], listener: socket.socket, names: Sequence[str], token: str | None
) -> None:
    import uvicorn

    from event_collector.web.asgi_app import make_app

    config = uvicorn.Config(
        make_app(site, hosts=("localhost", *names), token=token), log_level="warning", access_log=False, lifespan="off",
        timeout_graceful_shutdown=GRACE, server_header=False, proxy_headers=False,
    )  # fmt: skip
    running = [asyncio.create_task(job()) for job in jobs]
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        for task in running:
            task.cancel()
        for result in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(result, Exception):
                print(f"event-collector web: {result}", file=sys.stderr)
