# `make help` lists what there is. Everything runs in a virtual environment of its own, .venv.
PYTHON ?= python3
BIN = .venv/bin
SCRIPT = train_mnist.py

.DEFAULT_GOAL := help
.PHONY: help train test check format bench bench-search crash clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /	/' | expand -t 12

.venv/installed: requirements.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

train: .venv/installed  ## install what is needed, train the digit network, list what it wrote
	$(BIN)/python $(SCRIPT) $(ARGS)
	@echo; ls -l outputs/train_mnist

test: .venv/installed-dev  ## install what is needed, run the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --maxprocesses 4 $(ARGS)

check: .venv/installed-dev  ## lint, format, types, fast tests: a minute once installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --maxprocesses 4 -m "not slow" $(ARGS)

format: .venv/installed-dev  ## format the code and fix what the linter can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed-dev  ## measure what docs/mnist.md says: half an hour on two cores
	$(BIN)/python -m benchmarks.quick
	$(BIN)/python -m benchmarks.best
	$(BIN)/python -m benchmarks.best classic
	$(BIN)/python -m benchmarks.drawn
	$(BIN)/python -m benchmarks.photos handwritten/digits outputs/benchmarks/best/*/model.pt
	$(BIN)/python -m benchmarks.decline outputs/benchmarks/best/*/model.pt

crash: .venv/installed-dev  ## kill the scripts 1,000 times, feed them 100,000 bad files: an hour or two
	$(BIN)/python -m benchmarks.robustness.kills
	$(BIN)/python -m benchmarks.robustness.mutants

bench-search: .venv/installed-dev  ## measure what docs/fashion_search.md says: hours
	$(BIN)/python -m benchmarks.textbook
	$(BIN)/python -m benchmarks.precision
	$(BIN)/python -m benchmarks.bookkeeping
	$(BIN)/python -m benchmarks.workers
	$(BIN)/python -m benchmarks.cheap

clean:  ## remove the virtual environment and what scripts wrote
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache outputs/*/
