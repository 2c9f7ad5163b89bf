"""The resources that the host or container grants: cores, memory, and how much of both is in use."""

from event_collector_workers.machine.control_groups import GroupLimits, read_limits
from event_collector_workers.machine.probe import Machine, granted_cpus, memory_limit
from event_collector_workers.machine.scheduler import cpu_seconds, run_delay

__all__ = ["GroupLimits", "Machine", "cpu_seconds", "granted_cpus", "memory_limit", "read_limits", "run_delay"]
