# `make demo` serves example data, `make run` your own, `make test` runs the tests; every target installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Every test of a server starts several processes, and each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

# Not PYTEST_ADDOPTS, which a pytest that a test starts would read, too.
PYTEST_OPTIONS ?=

.PHONY: run demo test test-all test-long servers check format bench prove install clean

# `make demo PORT=9000`: only variables on make's command line count, because a PORT in the environment may be for
# another program.
SERVE := $(foreach name,HOST PORT WORKERS,$(if $(findstring command,$(origin $(name))),$(name)))
option = --$(shell echo $(1) | tr A-Z a-z) '$($(1))'

serve = $(BIN)/eventapi serve $(1) $(foreach name,$(SERVE),$(call option,$(name))) || test $$? -eq 130  # Ctrl-C

run: $(VENV)/.installed
	@$(call serve)

demo: $(VENV)/.installed
	@$(call serve,--demo)

# The tests that need only git, make and Python, within five minutes; each law with 10 examples.
test: $(VENV)/.installed-test
	HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-quick} $(BIN)/pytest --numprocesses auto -m 'not long' $(PYTEST_OPTIONS)

# Every test.
test-all: test test-long

# The tests that `make test` leaves out. Most of them wait for servers, so one more runs than there are cores. Tests of a
# folder mostly stay together (worksteal), so that few processes start its servers.
# Debian keeps servers in /usr/sbin, which is not on the path of most users.
test-long: $(VENV)/.installed-test-all
	.ci/servers || echo 'The tests that need these programs are skipped.' >&2
	PATH="$$PATH:/usr/sbin" $(BIN)/pytest --numprocesses $$(($$(nproc) + 1)) --dist worksteal -m long $(PYTEST_OPTIONS)

# Install the programs that `make test-long` needs from Debian's packages, as root on Debian.
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

# The campaigns of tests/README.md, for hours; `make prove CYCLES=20 SEEDS=1000 EVERY=50 STRIDE=97 SECONDS=10 EVENTS=1000 KILLS=5 TIMES=3`
# takes minutes.
CYCLES ?= 2000
SEEDS ?= 100000
EVERY ?= 1
STRIDE ?= 1
HISTORIES ?= 2000
SECONDS ?= 60
EVENTS ?= 100000
KILLS ?= 200
TIMES ?= 50

prove: $(VENV)/.installed-test
	$(BIN)/python -m tests.fault_injection.simulation --seeds 0..$(SEEDS)
	$(BIN)/python -m tests.fault_injection.torn --stride $(STRIDE)
	$(BIN)/python -m tests.fault_injection.faults --every $(EVERY)
	$(BIN)/pytest tests/fault_injection/faults/test_storage_faults.py
	$(BIN)/python -m tests.fault_injection.crashes --cycles $(CYCLES)
	$(BIN)/python -m tests.fault_injection.restores --histories $(HISTORIES)
	$(BIN)/python -m tests.fault_injection.restores --histories $(HISTORIES) --databases
	$(BIN)/python -m tests.fault_injection.restores --histories $(HISTORIES) --erasures
	$(BIN)/python -m tests.fault_injection.webhooks --events $(EVENTS) --kills $(KILLS)
	$(BIN)/python -m tests.fault_injection.failover --times $(TIMES) --clients 64
	$(BIN)/python -m tests.fault_injection.galera
	$(BIN)/python -m tests.fault_injection.tenants --seeds 0..$(HISTORIES)
	$(BIN)/python -m tests.end_to_end.workers --seconds $(SECONDS) --workers 4 --clients 64 --kill
	$(BIN)/python -m tests.deployment.production --log postgresql
	$(BIN)/python -m tests.deployment.production --log mariadb
	$(BIN)/python -m tests.deployment.production --log file
	EVENTAPI_TESTS_THROUGH=postgresql $(BIN)/pytest --numprocesses auto tests/eventapi/http

# Some 40 minutes on an otherwise idle machine, or 5 with `make bench QUICK=--quick`; with `make bench KINDS=--kinds`
# another hour, for logs of up to 10,000,000 events. wrk is a package of Debian.
bench: $(VENV)/.installed-bench
	command -v wrk > /dev/null || { apt-get update -qq && apt-get install --quiet --yes --no-install-recommends wrk; } \
		|| { echo 'wrk is missing; install it as root: apt-get install wrk' >&2; exit 1; }
	$(BIN)/python -m benchmarks.run $(QUICK) $(KINDS)

install: $(VENV)/.installed

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# The venv is complete while .made exists. It is renamed during an install, and stays so if the install is killed; then
# the venv is created anew, because pip takes a half-installed package for installed.
install = mv $(VENV)/.made $(VENV)/.unfinished \
	&& { PYTHONWARNINGS=ignore $(BIN)/pip install --quiet $(1) || { mv $(VENV)/.unfinished $(VENV)/.made; exit 1; }; } \
	&& mv $(VENV)/.unfinished $(VENV)/.made

OLD_PYTHON := eventapi needs Python 3.11 or later; name a newer one: make run PYTHON=python3.13
NO_VENV := Python cannot create a virtual environment. On Debian and Ubuntu, install it as root: \
	apt-get install python3-venv. Then type the same command again

$(VENV)/.made:
	@command -v $(PYTHON) > /dev/null || { echo '$(PYTHON) is missing: $(OLD_PYTHON)' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "`$(PYTHON) --version 2>&1` is too old: $(OLD_PYTHON)" >&2; exit 1; }
	@test ! -e $(VENV)/.unfinished && $(BIN)/pip --version > /dev/null 2>&1 \
		|| $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo '$(NO_VENV)' >&2; exit 1; }
	@echo 'Installing into $(VENV), which takes about a minute ...'
	@touch $@

# An earlier version was installed as `eventapi`, which on PyPI is another project.
$(VENV)/.installed: pyproject.toml $(VENV)/.made
	@-$(BIN)/pip uninstall --quiet --yes eventapi 2> /dev/null; rm -rf eventapi.egg-info
	@$(call install,--editable .)
	@touch $@

# An older pip has no `--group`.
$(VENV)/.installed-test: $(VENV)/.installed
	@$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@$(call install,--no-compile --group test)  # Imported modules are compiled at their first import.
	@touch $@

$(VENV)/.installed-test-all: $(VENV)/.installed-test
	@$(call install,--group test-all)
	@$(call install,--group other-witness --no-deps --ignore-requires-python)  # It asks for 3.12, and runs on 3.11.
	@touch $@

$(VENV)/.installed-check: $(VENV)/.installed-test
	@$(call install,--group check)
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-test benchmarks/requirements.txt
	@$(call install,--requirement benchmarks/requirements.txt)
	@touch $@
