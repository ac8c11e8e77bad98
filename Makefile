# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs. `make check` is for every change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
READY := $(VENV)/.ready

.PHONY: setup demo check test nightly versions lint types docs clean

setup: $(READY)

check test nightly: export PATH := $(CURDIR)/$(BIN):$(PATH)

# setuptools warns of every editable installation, in ten lines: a newcomer would look for what is wrong.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Paretune needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/paretune demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

# The site, in build/site: every link, anchor and generated table is checked. It fetches nothing.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# What a change is tried with: lint, types, and the fast tests.
check: lint types
	$(PYTEST) --durations 5 tests/fast

# What a change has to pass. Two processes at a time: much of what takes long is processes that start, and waits.
test: check docs
	$(PYTEST) --durations 10 tests/ray tests/e2e tests/contract tests/process

# The rest, which takes hours: see tests/README.md.
nightly: $(READY)
	$(PYTEST) --durations 10 -m 'nightly or gpu' tests

# With the lowest and the newest torch, Ray and MLflow: two environments of several gigabytes in build/versions.
versions:
	$(PYTHON) tests/support/versions.py tests/fast

clean:
	rm -rf $(VENV) paretune-results .cache .mypy_cache .ruff_cache .pytest_cache
