"""URLs of sources: what they name, and what is said of those that name nothing."""

import sys
from typing import Any

import pytest

from event_collector import ConfigError
from event_collector.sources import JetStreamSource, RedisStreamSource, open_url


def test_a_url_of_nats_names_a_stream() -> None:
    """Servers, stream and the parameters of JetStreamSource; the password is in no name."""
    source: Any = open_url(
        "nats://me:secret@a:4222,b:4223/ORDERS?consumer=billing&ack_wait=5&subject=o.*&dead_letters=grave&credentials=/c"
    )
    assert isinstance(source, JetStreamSource)
    assert source._connection._servers == ["nats://me:secret@a:4222", "nats://me:secret@b:4223"]
    assert (source.name, source.hold) == ("ORDERS (billing)", 5.0)
    assert (source._plan.subject, source._plan.dead_letters) == ("o.*", "grave")
    assert source._connection._options == {"user_credentials": "/c"}


def test_a_url_of_redis_names_a_stream() -> None:
    """Server, database, stream, and the parameters of RedisStreamSource."""
    source: Any = open_url("rediss://:secret@host:6380/orders%3Anew?group=billing&claim_after=7&field=f&db=3")
    assert isinstance(source, RedisStreamSource)
    assert source._url == "rediss://:secret@host:6380/3"
    assert (source.name, source.hold, source._field) == ("orders:new (billing)", 7.0, b"f")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("orders", "'orders' is no source: it is nats://host:port/STREAM or redis://host:port/STREAM"),
        ("kafka://host/ORDERS", "is no source"),
        ("nats://me:secret@host:4222", "'nats://me:***@host:4222' is no source"),
        ("nats://[host/ORDERS", "cannot be read"),
        ("nats://host/ORDERS?color=red", "has the parameter 'color'; there are consumer, subject"),
        ("nats://host/ORDERS?ack_wait=soon", "has ack_wait='soon', which is no number"),
        ("nats://host/ORDERS?ack_wait=0", "ack_wait=...) takes a number of seconds from 0.1 on, not 0.0"),
        ("nats://host/ORD.ERS", "the name of a stream has no spaces, dots"),
        ("nats://host/ORDERS?consumer=a.b", "the name of a consumer has no spaces, dots"),
        ("redis://host/orders?claim_after=nan", "claim_after=...) takes a number of seconds from 0.1 on"),
        ("redis://host/orders?group=", "the name of a group is a string"),
    ],
)
def test_what_names_nothing_is_refused(url: str, words: str) -> None:
    """The error says what is wrong, without the password."""
    with pytest.raises(ConfigError) as caught:
        open_url(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("url", "module"), [("nats://host/S", "nats"), ("redis://host/s", "redis")])
def test_a_missing_extra_is_named(url: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the command that installs it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(ConfigError, match=rf"pip install 'event-collector-hybrid\[{module}\]'"):
        open_url(url)
