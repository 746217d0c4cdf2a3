# The verbs of this repository. `make run` and `make test` do everything, also on a fresh machine.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.hedgerow-setup
CONFIG ?= config/paper.toml

# The parts whose branches must be covered, and how much of them, in percent.
GATED  := bot/model/*,bot/signals/*,bot/pipeline/*,bot/sim/*
GATE   := 90

# Imports are several times slower without byte code, and some machines tell Python not to write any.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run test check bench soak clean
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: $(STAMP) ## make .venv with everything in it (PYTHON=python3.12 to choose the interpreter)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "hedgerow needs Python 3.11 or newer, but '$(PYTHON)' is $$(command -v $(PYTHON) >/dev/null && $(PYTHON) --version 2>&1 || echo not there); name one with PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 bot strategies || true
	@$(BIN)/python -m compileall -q -j 0 -x 'bad_|badsyntax|lib2to3' \
	  "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true
	@touch $(STAMP)

run: setup ## trade on paper (CONFIG=config/paper.toml)
	$(BIN)/hedgerow run $(CONFIG)

check: setup ## lint, format, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup check ## check, then every test, then the coverage gate
	$(BIN)/python -m pytest -n auto --dist loadgroup --cov --cov-report=
	$(BIN)/coverage report --include='$(GATED)' --fail-under=$(GATE)

bench: setup ## measure the backtest and print JSON
	$(BIN)/python benchmarks/backtest.py

soak: setup ## simulate a year with a fault in every hour, then 100,000 deaths of the daemon; hours
	$(BIN)/python -m tests.simulation.soak --days 365 --coins 8
	$(BIN)/python -m tests.simulation.soak --crash-runs 100000

clean: ## remove the environment, caches and byte code (not state/ or out/)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .import_linter_cache build *.egg-info
	find bot strategies tests -name __pycache__ -type d -prune -exec rm -rf {} +
