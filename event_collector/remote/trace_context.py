"""The OpenTelemetry trace of an event, for its handler in another process.

A carrier contains the headers that a propagator of OpenTelemetry writes, as in HTTP. OpenTelemetry is imported only if
an event has one.
"""

from collections.abc import Mapping
from contextvars import Context as ContextVars
from contextvars import ContextVar

CARRIER: ContextVar[Mapping[str, str] | None] = ContextVar("event_collector_carrier", default=None)
"""The carrier of the payload that is encoded in this context."""


def with_trace(carrier: Mapping[str, str]) -> ContextVars:
    """Return context variables for a handler that contain nothing but the trace of a carrier."""
    from opentelemetry import context, propagate

    variables = ContextVars()
    variables.run(lambda: context.attach(propagate.extract(carrier)))
    return variables
