# Everything a checkout needs. `make` alone lists the targets.
# Needs: make, git, and Python 3.11, 3.12 or 3.13 with its venv module. Uses uv if it is on the PATH, pip otherwise.

VENV   ?= .venv
ARGS   ?=
ROOMS  := rules texts nlp storage reports handlers scheduler web bot
BIN    := $(VENV)/bin
UV     := $(shell command -v uv 2>/dev/null)

# Recursively expanded on purpose: Python is only searched for when an environment has to be made.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)

ifneq ($(UV),)
INSTALL := $(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --no-build-isolation
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --no-build-isolation
endif

# What `make test` runs on PostgreSQL too, a minute of it: whatever has most to do with rows and their order.
ON_POSTGRES_TOO := $(addprefix tests/test_,migrations.py receive.py intake.py sender.py jobs.py many_processes.py schedules.py send_limits.py transcripts.py) \
	-k "not test_transcripts and not stopped and not without_trouble or comes_out_as_written"

# Many tests wait for something more than they work: one process more than there are cores. What somebody picks out runs in one, where it is easier to watch.
SIDE_BY_SIDE := $(if $(ARGS),,-n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --dist worksteal)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-postgres chaos install install-dev check types format browser lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## start the bot with a made-up firm and a chat page on this machine
	$(BIN)/python -m bot demo $(ARGS)

test: $(VENV)/.test ## run the tests, those that need a browser left out (ARGS="-k pin" picks some)
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)
ifeq ($(ARGS),)
	ZOUDIAN_TEST_DATABASE=postgres $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ON_POSTGRES_TOO)
endif

test-postgres: $(VENV)/.test ## run the same tests on PostgreSQL, which a pip package brings along
	ZOUDIAN_TEST_DATABASE=postgres $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

chaos: $(VENV)/.test ## kill the whole bot 1,000 times on each database, then every other trouble; hours (ARGS="--runs 50")
	$(BIN)/python -m tests.chaos kills $(ARGS)
ifeq ($(ARGS),)
	$(BIN)/python -m tests.chaos kills --database postgres
	$(BIN)/python -m tests.chaos kills --real-ear --runs 30
	$(BIN)/python -m tests.chaos kills --real-ear --runs 30 --database postgres
	$(BIN)/python -m tests.chaos rows
endif

install: $(VENV)/.runtime ## make the environment with what the bot needs to run

install-dev: $(VENV)/.dev ## make the environment with everything a developer needs

check: $(VENV)/.dev ## lint, formatting, types and import contracts, each to its end
	@failed=; \
	$(BIN)/ruff check . || failed="$$failed ruff-check"; \
	$(BIN)/ruff format --check . || failed="$$failed ruff-format"; \
	$(MAKE) --no-print-directory types || failed="$$failed types"; \
	$(BIN)/lint-imports || failed="$$failed lint-imports"; \
	if [ -n "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

types: $(VENV)/.dev ## mypy --strict over the rooms, the tests and the benchmarks
	$(BIN)/mypy $(ROOMS) tests $(wildcard bench)

format: $(VENV)/.dev ## lay out the code and mend what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

browser: $(VENV)/.dev ## run the tests that need Chromium (ZOUDIAN_CHROMIUM=/path if it is not on the PATH)
	$(BIN)/python -m pytest tests/browser -p no:randomly $(ARGS)

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-annotate --no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE)

# The widest set is solved first and bounds the others, so that a release is the same in all of them.
lock: $(VENV)/.dev ## remake requirements*.txt from pyproject.toml (UPGRADE=--upgrade for newer releases)
	$(LOCK) pyproject.toml --group build --group dev --group bench -o requirements-dev.txt
	$(LOCK) pyproject.toml --group test -c requirements-dev.txt -o requirements-test.txt
	$(LOCK) pyproject.toml -c requirements-dev.txt -o requirements.txt
	$(LOCK) pyproject.toml --extra postgres --extra s3 -c requirements-dev.txt -o requirements-server.txt
	$(LOCK) --group build -c requirements-dev.txt -o requirements-build.txt

clean: ## remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find $(ROOMS) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11, 3.12 or 3.13 was not found." >&2; \
		echo "On Debian 12 or newer and Ubuntu 24.04 or newer: apt install python3 python3-venv" >&2; \
		echo "Elsewhere install one of them and say where: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
ifneq ($(UV),)
	$(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)
else
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$(PYTHON) cannot make an environment: its venv module is missing." >&2; \
		echo "On Debian and Ubuntu: apt install python3-venv" >&2; \
		exit 1; \
	fi
	$(PYTHON) -m venv $(VENV)
endif

# A stamp says that what stands in its requirements file is installed, and this checkout on top of it.
$(VENV)/.%: requirements-build.txt pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements-build.txt
	$(INSTALL) --require-hashes -r $(filter requirements%.txt,$(filter-out $<,$^))
	$(INSTALL) --no-deps --editable .
	@touch $@

$(VENV)/.runtime: requirements.txt
$(VENV)/.test: requirements-test.txt
$(VENV)/.dev: requirements-dev.txt
