"""The trace that an event belongs to, on its way to another process.

A carrier is what a propagator of OpenTelemetry writes, headers as in HTTP. Nothing of OpenTelemetry is imported here
before there is one.
"""

from collections.abc import Mapping
from contextvars import Context as ContextVars
from contextvars import ContextVar

__all__ = ["CARRIER", "with_trace"]

CARRIER: ContextVar[Mapping[str, str] | None] = ContextVar("event_collector_carrier", default=None)
"""What goes with the payload that is encoded within the context."""


def with_trace(carrier: Mapping[str, str]) -> ContextVars:
    """Return context variables for a handler: empty but for the trace of a carrier."""
    from opentelemetry import context, propagate

    variables = ContextVars()
    variables.run(lambda: context.attach(propagate.extract(carrier)))
    return variables
