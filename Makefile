# Two commands are all: `make run` serves, `make test` tests; each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test test-all servers check format bench prove install clean

run: $(VENV)/.installed
	$(BIN)/eventapi serve

# What needs git, make and Python alone, within five minutes; with a tenth of the cases of each law.
test: $(VENV)/.installed-test
	HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-quick} $(BIN)/pytest --numprocesses auto -m 'not long'

# Every test. Debian keeps servers in /usr/sbin, which is not on the path of most users.
test-all: $(VENV)/.installed-test
	.ci/servers || echo 'The tests of these are skipped.' >&2
	PATH="$$PATH:/usr/sbin" $(BIN)/pytest --numprocesses auto

# The programs of Debian's packages that `make test-all` needs, for root on a Debian machine.
servers:
	.ci/servers

check: $(VENV)/.installed-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Every fault there is, for hours; `make prove CYCLES=20 SEEDS=1000 EVERY=50 STRIDE=97 SECONDS=10` is minutes.
CYCLES ?= 2000
SEEDS ?= 100000
EVERY ?= 1
STRIDE ?= 1
HISTORIES ?= 2000
SECONDS ?= 60

prove: $(VENV)/.installed-test
	$(BIN)/python -m tests.proving.simulation --seeds 0..$(SEEDS)
	$(BIN)/python -m tests.proving.torn --stride $(STRIDE)
	$(BIN)/python -m tests.proving.faults --every $(EVERY)
	$(BIN)/pytest tests/proving/faults/test_storage_faults.py
	$(BIN)/python -m tests.proving.crashes --cycles $(CYCLES)
	$(BIN)/python -m tests.proving.restores --histories $(HISTORIES)
	$(BIN)/python -m tests.proving.restores --histories $(HISTORIES) --databases
	$(BIN)/python -m tests.proving.restores --histories $(HISTORIES) --erasures
	$(BIN)/python -m tests.whole.workers --seconds $(SECONDS) --workers 4 --clients 64 --kill
	$(BIN)/python -m tests.production --log postgresql
	$(BIN)/python -m tests.production --log mariadb
	$(BIN)/python -m tests.production --log file
	EVENTAPI_TESTS_THROUGH=postgresql $(BIN)/pytest --numprocesses auto tests/eventapi/http

# Some 35 minutes on a machine that does nothing else, or 5 with `make bench QUICK=--quick`; wrk is Debian's.
bench: $(VENV)/.installed-bench
	command -v wrk > /dev/null || { apt-get update -qq && apt-get install --quiet --yes --no-install-recommends wrk; } \
		|| { echo 'wrk is needed, and root may install it: apt-get install wrk' >&2; exit 1; }
	$(BIN)/python -m benchmarks.run $(QUICK)

install: $(VENV)/.installed

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eventapi needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --group test
	touch $@

$(VENV)/.installed-check: $(VENV)/.installed-test
	$(BIN)/pip install --quiet --group check
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-test benchmarks/requirements.txt
	$(BIN)/pip install --quiet --requirement benchmarks/requirements.txt
	touch $@
