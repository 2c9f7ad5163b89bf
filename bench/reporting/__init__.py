"""The report of a run of the benchmarks: `python -m bench.reporting bench/report/benchmark.json`."""
