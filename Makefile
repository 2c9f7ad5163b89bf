# Everything a contributor runs. `make` alone prints this list.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help depend run run-web vendor pictures test test-faults check format chaos bench bench-quick bench-compare bench-front-end \
        bench-process-tier bench-streams bench-lines bench-imports bench-autoscaler bench-autoscaler-real docs clean

help: ## print the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

IS_SOUND = $(BIN)/python -c 'import sys, pip; sys.exit(sys.prefix == sys.base_prefix)'
# Two stamps: running the main job needs only the package, working on it needs the tools too.
# `python -m venv` fails where python3-venv is missing, and leaves an environment without pip, which is made anew here.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "event_collector needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(IS_SOUND) 2> /dev/null || $(PYTHON) -m venv $(if $(wildcard $(VENV)/pyvenv.cfg),--clear) $(VENV)
	@$(IS_SOUND) || { echo "$(VENV) is no virtual environment with pip: remove it, and run make again" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[progress]"
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

depend: $(VENV)/.developing ## create the virtual environment .venv with everything in it

run: $(VENV)/.installed ## the main job: survey the standard library, in both modes
	$(BIN)/python docs/examples/stdlib_survey.py

WEB_SOCKET = $(VENV)/survey.sock
run-web: $(VENV)/.installed ## the main job with its web page, until Ctrl-C: http://127.0.0.1:8790/
	$(BIN)/python -m pip install --quiet --editable ".[progress,web]"
	@$(BIN)/event-collector web $(WEB_SOCKET) & trap "kill $$!" EXIT INT TERM; \
	  EVENT_COLLECTOR_MONITOR=$(WEB_SOCKET) $(BIN)/python docs/examples/stdlib_survey.py && wait

# Most tests wait for processes that start: three at a time keep two cores busy. JOBS=0 runs them in one process.
JOBS ?= 3
# Hundreds of programs are started: where Python is told to write no bytecode, as in many containers, each would compile
# all that it imports.
test test-faults: export PYTHONDONTWRITEBYTECODE :=
test-faults: export LOOPS ?= both
test-faults: export EXAMPLES ?= thorough
test: $(VENV)/.developing ## run the test-suite (PYTEST_ARGS="-k name" selects)
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(JOBS) --dist worksteal $(PYTEST_ARGS)

test-faults: $(VENV)/.developing ## run the slow tests: faults in their thousands, CPython's own tests of executors
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

check: $(VENV)/.developing ## lint, formatting, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: $(VENV)/.developing ## rewrite the sources in the house format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

SECONDS ?= 60
chaos: $(VENV)/.developing ## kill workers and the whole program at random for SECONDS=60, and prove that nothing is lost
	$(BIN)/python -m tests.faults.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

REPORT  = bench/report
MEASURE = $(BIN)/python -m pytest bench -q -p no:cacheprovider --benchmark-autosave --benchmark-json=$(REPORT)/benchmark.json

bench: $(VENV)/.developing ## compare modes, opponents and numbers of workers; write bench/report/index.html
	@mkdir -p $(REPORT)
	$(MEASURE) > $(REPORT)/benchmark.txt || { cat $(REPORT)/benchmark.txt; exit 1; }
	$(BIN)/python -m bench.reporting $(REPORT)/benchmark.json --check

bench-quick: REPORT = bench/report/quick
bench-quick: $(VENV)/.developing ## a first answer, in bench/report/quick
	@mkdir -p $(REPORT)
	BENCH_QUICK=1 $(subst pytest bench,pytest bench/modes,$(MEASURE)) > $(REPORT)/benchmark.txt || { cat $(REPORT)/benchmark.txt; exit 1; }
	$(BIN)/python -m bench.reporting $(REPORT)/benchmark.json --check --command "make bench-quick"

bench-compare: $(VENV)/.developing ## compare with an earlier run: BASE=0001, a number in .benchmarks
	$(BIN)/python -m pytest bench -q -p no:cacheprovider --benchmark-autosave --benchmark-compare=$(BASE)

bench-front-end: $(VENV)/.developing ## an event without its handler, against the existing library
	$(BIN)/python -m bench.front_end burst one-at-a-time senders-1000

bench-process-tier: $(VENV)/.developing ## a job on its way to a worker and back, against the standard library
	$(BIN)/python -m bench.process_tier

bench-streams: $(VENV)/.developing ## many values through a stream, against the ways to map a function over them
	$(BIN)/python -m bench.streams

bench-lines: $(VENV)/.developing ## the command over lines of a file, against a script with a pool and GNU parallel
	$(BIN)/python -m bench.lines

bench-imports: $(VENV)/.developing ## what it costs to import the package, and what a worker imports
	$(BIN)/python -m bench.imports --check

bench-autoscaler: $(VENV)/.developing ## compare scaling laws in simulation
	$(BIN)/python -m bench.autoscaler --check --draw bench/report/autoscaler

bench-autoscaler-real: $(VENV)/.developing ## replay six of the simulated workloads on this machine
	$(BIN)/python -m bench.autoscaler.replay --draw bench/report/autoscaler-real

vendor: $(VENV)/.developing ## fetch the scripts of others for the web page anew, and check their hashes
	$(BIN)/python -m tests.web.vendored

pictures: $(VENV)/.developing ## draw the pictures of the documentation (needs chromium)
	$(BIN)/python -m tests.web.pictures

$(VENV)/.documenting: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

docs: $(VENV)/.documenting ## build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist docs/_build bench/report .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
