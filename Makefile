# Everything sets itself up: `make demo` and `make test` need Python 3.11 or later, git and make, nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed
MODEL  ?=
# The index that torch comes from, where it is not the usual one: pytorch.org has one with CPU-only builds, which are
# a tenth of the size.
TORCH_INDEX ?=

.PHONY: demo test faults docs lint types contract check bench bench-learning wheel clean

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "redraft needs Python 3.11 or later: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) 'torch==2.13.*'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/redraft demo $(if $(MODEL),--model $(MODEL))

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# The fault tests in full counts; writes benchmarks/results/faults.json, which `make docs` tabulates.
faults: $(STAMP)
	$(BIN)/python -m tests.faults --write benchmarks/results/faults.json

docs: $(STAMP)
	$(BIN)/python -m docs.build

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

contract: $(STAMP)
	$(BIN)/lint-imports

check: lint types contract test

bench: $(STAMP)
	for name in startup memory threads throughput support training pairs acceptance discord_bot console; do $(BIN)/python -m benchmarks.$$name --write || exit 1; done

# What the loop learns and whether the gate holds: thirty-odd fine-tunes, over an hour of two cores; need ../shared/data.
bench-learning: $(STAMP)
	for name in learning gate; do $(BIN)/python -m benchmarks.$$name --write || exit 1; done

wheel: $(STAMP)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
