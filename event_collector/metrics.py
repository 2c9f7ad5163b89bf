"""Metrics of a queue and of its collectors, as `get_metrics()`, `collector_metrics()` and `accounting()` return them."""

from event_collector.watching.metrics import Accounting, CollectorMetrics, Load, Metrics, Percentiles

__all__ = ["Accounting", "CollectorMetrics", "Load", "Metrics", "Percentiles"]
