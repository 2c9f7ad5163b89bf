"""Modes compared with each other and with what else runs functions in asyncio programs and in processes.

    make bench-quick
    python -m pytest bench/modes -k "no-op and process"

Each scenario is one function on a list of values. A contestant runs it on all of them at once, which gives the
throughput, and on one after the other, which gives the latency. All results are compared with what they must be.
"""
