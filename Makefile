# Needs make and Python >= 3.11 only; everything else comes from the lock into .venv.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	"$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$name" && break; done)
VENV = .venv
BIN = $(VENV)/bin
RUNTIME = $(VENV)/.runtime-installed
DEVELOPMENT = $(VENV)/.development-installed
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help run test verify coverage lock screenshots mutants storm state-machine fuzz vendor clean

help:
	@echo 'make run          run Keepwell: http://127.0.0.1:8000/ (PORT=..., VAR_DIR=..., DEMO=0; Ctrl-C stops it)'
	@echo 'make test         prove everything: style, types, structure, migrations, tests'
	@echo 'make verify       the same'
	@echo 'make coverage     the tests again, counting the lines that none of them reaches; fails below nine in ten'
	@echo 'make lock         write requirements*.lock anew from pyproject.toml'
	@echo 'make screenshots  take pictures of the screens'
	@echo 'make bench-NAME   measure; docs/benchmarks.md says what each shows (BENCH=--help tells its options)'
	@echo 'make mutants      break the code on purpose and see whether a test notices'
	@echo 'make storm        kill real processes and servers beside writers, and count what is lost (STORM_KILLS=2000)'
	@echo 'make state-machine  play every order of events against the engine (STATE_MACHINE_EXAMPLES=1000)'
	@echo 'make fuzz         ask everything of the API for what schemathesis makes up, as every role (FUZZ_EXAMPLES=100)'
	@echo 'make vendor       fetch the one vendored script anew by npm (VERSION=8.0.4 another one) and record its hash'
	@echo 'make clean        remove the virtual environment and caches; var/ (data) stays'

# One simple command, so that make starts it without a shell between: who kills make stops Keepwell.
run: $(RUNTIME)
	@$(BIN)/python manage.py dev --stop-with-parent

test: verify

verify: $(DEVELOPMENT)
	@$(BIN)/python manage.py verify

coverage: $(DEVELOPMENT)
	@$(BIN)/python manage.py verify --only coverage

$(RUNTIME): requirements.lock
	@test -n "$(PYTHON)" || { echo 'Python >= 3.11 with venv is needed; name yours as in PYTHON=/path/to/python3'; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo 'Installing what requirements.lock names into $(VENV) ...'
	@$(PIP) -r requirements.lock
	@touch $@

$(DEVELOPMENT): requirements-dev.lock $(RUNTIME)
	@echo 'Installing what requirements-dev.lock names into $(VENV) ...'
	@$(PIP) -r requirements-dev.lock
	@touch $@

COMPILE = var/lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --quiet

lock:
	@$(PYTHON) -m venv --clear var/lock
	@var/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) -o requirements.lock
	$(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock
	for peer in tests/peers/locks/*.in; do var/lock/bin/uv pip compile "$$peer" -c requirements.lock --universal \
		--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-header --quiet -o "$${peer%.in}.lock"; done
	@rm -rf var/lock

screenshots: $(DEVELOPMENT)
	@$(BIN)/python -m tests.browser.screenshots

# Each tests/bench_NAME.py. What bench-peers compares with is installed into var/bench-peers, never into $(VENV).
bench-%: $(DEVELOPMENT)
	@$(BIN)/python -m tests.bench_$* $(BENCH)

mutants: $(DEVELOPMENT)
	@$(BIN)/python -m tests.mutants

storm: $(DEVELOPMENT)
	@STORM_KILLS=$${STORM_KILLS:-2000} STORM_CRASHES=$${STORM_CRASHES:-200} STORM_SECONDS=$${STORM_SECONDS:-300} \
		$(BIN)/python -m pytest tests/storm tests/concurrency/test_storm.py -q -s -p no:randomly

state-machine: $(DEVELOPMENT)
	@STATE_MACHINE_EXAMPLES=$${STATE_MACHINE_EXAMPLES:-1000} \
		$(BIN)/python -m pytest tests/concurrency/test_state_machine.py -q

fuzz: $(DEVELOPMENT)
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-100} $(BIN)/python -m pytest tests/contract/test_fuzzing.py -q -s -p no:randomly

vendor: $(DEVELOPMENT)
	@$(BIN)/python -m tests.vendor

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
