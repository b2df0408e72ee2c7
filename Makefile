# README.md and CONTRIBUTING.md explain the targets. Packages are in .venv, data in .penchant; `make clean` removes both.

SHELL := /bin/sh
.DEFAULT_GOAL := setup
VENV := .venv
BIN := $(VENV)/bin
SINCE ?= HEAD
# A file's tests share what it trains and starts, so they run in one process; the files keep their order (tests/conftest.py).
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
PYTEST := $(BIN)/pytest $(WORKERS) --durations=15

# With it, every process that is started would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# uv does not read pip's settings of index and certificates.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv -q pip

.PHONY: setup demo test test-all coverage check graphiql bench lock clean

setup: $(VENV)/ready-dev

demo: $(VENV)/ready-demo
	@exec $(BIN)/penchant demo

test: setup
	$(PYTEST) -m "not chaos and not browser and not node"

# With WITHOUT=browser on a machine that has no Chromium.
test-all: setup
	$(PYTEST) -m "not chaos$(if $(WITHOUT), and not $(WITHOUT))"
	$(BIN)/pytest -m chaos

# Branch coverage: prints the modules under 80 % and the total. No gate. A process that ends by a signal may leave no
# data: workers that a fixture kills, children of `gateway --processes`.
# For some tests only: make coverage TESTS="tests/core tests/db"
TESTS ?= tests
coverage: export COVERAGE_FILE := $(CURDIR)/.cache/coverage/data
coverage: setup
	rm -rf .cache/coverage && mkdir -p .cache/coverage
	-$(BIN)/coverage run -m pytest -q $(WORKERS) -m "not chaos and not browser and not node" $(TESTS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --sort=cover | awk 'NR < 3 || /^TOTAL/ || $$NF + 0 < 80'

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/penchant schema --check --since $(SINCE)
	$(BIN)/pytest -q -p no:xdist tests/cli/test_house.py tests/cli/test_event_schemas.py tests/deploy

# Builds the files of GraphiQL that the gateway serves; needs Node 20 with npm. They are committed.
graphiql:
	cd deploy/graphiql && npm ci --ignore-scripts --no-audit --no-fund && node build.mjs

bench: setup
	$(BIN)/python -m benchmarks --quick

# The locks have hashes and no addresses. `train` and `dev` pin tensorflow-cpu instead of tensorflow.
COMPILE := $(BIN)/uv -q pip compile --generate-hashes --no-header --no-annotate --universal --python-version 3.11
CPU := requirements/cpu.in --override requirements/overrides.txt
lock: setup
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) pyproject.toml -o requirements/gateway.txt
	$(COMPILE) pyproject.toml --extra demo -c requirements/gateway.txt -o requirements/demo.txt
	$(COMPILE) pyproject.toml --extra train --extra lake $(CPU) -c requirements/gateway.txt -o requirements/train.txt
	$(COMPILE) requirements/registry.in -c requirements/gateway.txt -o requirements/registry.txt
	$(COMPILE) pyproject.toml --all-extras $(CPU) -c requirements/train.txt -c requirements/demo.txt -o requirements/dev.txt

clean:
	@if [ -e .penchant/lock ] && ! flock -n .penchant/lock true; then echo "A stack is running in .penchant: stop it first."; exit 1; fi
	@for link in .penchant/*; do if [ -L "$$link" ]; then rm -rf "$$(readlink -f "$$link")"; fi; done
	rm -rf $(VENV) .penchant .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/ready-dev: $(BIN)/uv pyproject.toml requirements/build.txt requirements/dev.txt
	@echo "Installing everything (a minute or two) ..."
	@$(UV) install --require-hashes -r requirements/build.txt -r requirements/dev.txt
	@$(UV) install --no-deps --no-build-isolation -e .
	@touch $(VENV)/ready-demo $(VENV)/ready-train $@

$(VENV)/ready-demo: $(BIN)/uv pyproject.toml requirements/build.txt requirements/demo.txt
	@echo "Installing the gateway and the demo ..."
	@$(UV) install --require-hashes -r requirements/build.txt -r requirements/demo.txt
	@$(UV) install --no-deps --no-build-isolation -e .
	@touch $@

$(BIN)/uv: requirements/uv.txt
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then break; fi; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then echo "Penchant needs Python 3.11, 3.12 or 3.13 with venv (Debian and Ubuntu: python3-venv). To name it: make PYTHON=/path/to/python3"; exit 1; fi; \
	$$python -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@
