"""Sources from URLs, as `event-collector run --source` takes them."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from event_collector.sources.jetstream import JetStreamSource
from event_collector.sources.redis_stream import RedisStreamSource
from event_collector.sources.source import Source
from event_collector.values.errors import ConfigError

JETSTREAM: Final = {"consumer": str, "subject": str, "ack_wait": float, "dead_letters": str, "credentials": str}
REDIS: Final = {"group": str, "field": str, "claim_after": float, "dead_letters": str, "db": int}


def open_url(url: str) -> Source:
    """Return the source of a URL; it is not connected.

    `nats://host:4222/STREAM` or `tls://...`, several servers as `nats://a:4222,b:4222/STREAM`, with the parameters
    `consumer`, `subject`, `ack_wait`, `dead_letters` of JetStreamSource and `credentials`, the path of a .creds file.
    `redis://host:6379/STREAM` or `rediss://...`, with the parameters `group`, `field`, `claim_after`, `dead_letters` of
    RedisStreamSource and `db`. `user:password@` may precede the host.

    Raises:
        ConfigError: the URL is invalid, or its client is not installed. The message has no password.
    """
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise ConfigError(f"the URL of the source cannot be read: {exc}") from None
    stream = unquote(parts.path.lstrip("/"))
    if parts.scheme not in ("nats", "tls", "redis", "rediss") or not parts.netloc or not stream:
        url = _without_password(parts)
        raise ConfigError(f"{url!r} is no source: it is nats://host:port/STREAM or redis://host:port/STREAM")
    if parts.scheme in ("redis", "rediss"):
        parameters = _parameters(parts, REDIS)
        return RedisStreamSource(f"{parts.scheme}://{parts.netloc}/{parameters.pop('db', 0)}", stream, **parameters)
    parameters = _parameters(parts, JETSTREAM)
    login, at, hosts = parts.netloc.rpartition("@")
    servers = [f"{parts.scheme}://{login}{at}{host}" for host in hosts.split(",")]
    credentials = parameters.pop("credentials", None)
    options = {"user_credentials": credentials} if credentials else None
    return JetStreamSource(servers, stream, options=options, **parameters)


def _parameters(parts: SplitResult, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    parameters = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ConfigError(f"the URL of the source has the parameter {name!r}; there are {', '.join(known)}")
        try:
            parameters[name] = known[name](text)
        except ValueError:
            raise ConfigError(f"the URL of the source has {name}={text!r}, which is no number") from None
    return parameters


def _without_password(parts: SplitResult) -> str:
    login, at, hosts = parts.netloc.rpartition("@")
    public = f"{login.partition(':')[0]}:***@{hosts}" if at and ":" in login else parts.netloc
    return parts._replace(netloc=public).geturl()
