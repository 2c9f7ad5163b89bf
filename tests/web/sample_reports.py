"""Reports of benchmarks that were made by hand, with hostile texts wherever an application decides what they are."""

from msgspec.structs import replace

from event_collector import Collector
from event_collector.benchmark.report import Environment, Report, make_report
from tests.benchmark.hand_made import COROUTINE, THREAD, measured, process
from tests.web.sample_data import HOSTILE

HOSTILE_SCRIPT = f"</script></style>{'long' * 20}{HOSTILE}"


def total(value: int) -> int:
    """Return the value."""
    return value


def report(factor: float = 1.0) -> Report:
    """Return a report of four contenders, of which the processes scale."""
    found = [measured(COROUTINE, 40 * factor), measured(THREAD, [35, 30, 40, 35, 36, 34]),
             measured(process(1), [38, 39, 40, 37, 38, 38]), measured(process(2), 76 * factor)]  # fmt: skip
    for one in found:
        one.tries.update({1: 30.0, 4: 35.0 * factor, 16: 36.0 * factor})
    made = make_report(
        found, target=HOSTILE_SCRIPT, name="total", collector=Collector("total", total), command=HOSTILE_SCRIPT,
        environment=Environment(HOSTILE_SCRIPT, "3.13", "uvloop", 2, 0.5), seconds=20.0, settled=True,
    )  # fmt: skip
    made.recommendation.warnings.append(HOSTILE_SCRIPT)
    made.rows[0] = replace(made.rows[0], label=HOSTILE_SCRIPT)
    return made
