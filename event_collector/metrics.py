"""Metrics of a queue and of its collectors: the types of `get_metrics()`, `collector_metrics()`, `accounting()`."""

from event_collector.watching.metrics import Accounting, CollectorMetrics, Load, Metrics, Percentiles

__all__ = ["Accounting", "CollectorMetrics", "Load", "Metrics", "Percentiles"]
