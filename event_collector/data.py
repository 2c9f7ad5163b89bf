"""Payloads, results and contexts."""

from event_collector.values.context import Context, Record
from event_collector.values.payload import Delivery, Payload
from event_collector.values.results import Error, Ok, Result, ResultList, abind

__all__ = ["Context", "Delivery", "Error", "Ok", "Payload", "Record", "Result", "ResultList", "abind"]
