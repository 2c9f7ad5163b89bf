"""10, 100 and 1,000 hosts on one broker, simulated; with --check, one to three programs, simulated and measured.

python -m bench.hosts [--rate N] [--broker-us N]
python -m bench.hosts --check
"""

import argparse
import sys
from dataclasses import replace

from bench.hosts.measurement import compare
from bench.hosts.simulation import Setting, simulate

HOSTS = (10, 100, 1000)
HANDLERS = (0.001, 0.01, 0.1, 1.0)
SLOTS = 8
LOAD = 0.8
"""The share of its time for which what bounds a setting, all slots or the broker, has something to do."""
MESSAGES = 60_000
"""About as many are simulated in each setting."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.hosts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--broker-us", type=float, default=63.0,
        help="microseconds that the broker takes for a message, from its publication to its acknowledgement "
        "(default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--slots", type=int, default=SLOTS, help="handlers at once on a host (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="measure one to three programs, and compare")
    return parser.parse_args()


def setting_for(hosts: int, handler: float, slots: int, broker: float) -> Setting:
    """Return a setting in which the hosts, or the broker, are as busy as LOAD says: whichever comes first."""
    rate = LOAD * min(hosts * slots / handler, 1.0 / broker)
    base = Setting(hosts, rate, handler, slots, max(MESSAGES / rate, 10.0 * handler))
    share = broker / (base.take_in + base.deliver + base.acknowledge)
    return replace(
        base,
        take_in=base.take_in * share,
        request=base.request * share,
        deliver=base.deliver * share,
        acknowledge=base.acknowledge * share,
    )


def table(slots: int, broker: float) -> None:
    """Print what comes of each setting."""
    print(f"{slots} handlers at once on a host; the broker takes {broker * 1e6:g} microseconds a message")
    print(
        f"  {'hosts':>6} {'handler':>9} {'arrivals':>10} {'slots busy':>11} {'broker busy':>12} "
        f"{'p50':>9} {'p99':>9} {'held':>6}   bound by"
    )
    for hosts in HOSTS:
        for handler in HANDLERS:
            setting = setting_for(hosts, handler, slots, broker)
            outcome = simulate(setting)
            bound = "broker" if 1.0 / broker < hosts * slots / handler else "hosts"
            print(
                f"  {hosts:>6,} {handler * 1e3:>6,.0f} ms {setting.rate:>8,.0f}/s {outcome.hosts_busy:>11.0%} "
                f"{outcome.broker_busy:>12.0%} {outcome.percentile(0.5) * 1e3:>6,.1f} ms "
                f"{outcome.percentile(0.99) * 1e3:>6,.1f} ms {outcome.most_held:>6,}   {bound}",
                flush=True,
            )


def main() -> int:
    options = _arguments()
    if options.check:
        return 0 if compare() else 1
    table(options.slots, options.broker_us * 1e-6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
