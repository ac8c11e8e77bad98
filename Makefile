# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test lint types docs unit bench soak nightly clean

setup: $(READY)

unit test soak nightly: export PATH := $(CURDIR)/$(BIN):$(PATH)

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

unit: $(READY)
	$(BIN)/python -m pytest tests/unit

# Two files of tests at a time: much of what takes long is processes that start, and waits.
test: lint types docs
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 20 tests

soak: $(READY)
	PARETUNE_SOAK=1 $(BIN)/python -m pytest tests/e2e/test_kill.py tests/e2e/test_mlflow.py tests/e2e/test_demo.py

# What takes too long for every change: the kills of `soak`, and all that is marked `nightly`.
nightly: soak
	PARETUNE_NIGHTLY=1 $(BIN)/python -m pytest -m nightly tests

clean:
	rm -rf $(VENV) paretune-results .mypy_cache .ruff_cache .pytest_cache
