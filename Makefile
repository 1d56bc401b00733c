# Everything runs in a virtual environment of its own; Python 3.11+, g++ and make are all it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BOARD_VENV := .venv-board
BOARD_STAMP := $(BOARD_VENV)/.installed

# A file's tests stay in one process: they share fixtures, and addresses of virtual boards.
SPREAD := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup board-env demo lint test test-slow benchmark results clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create .venv with the pinned packages (done by the others when needed)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "setup: no python3 found; install Python 3.11 (Debian: apt-get install python3.11 python3.11-venv)" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: $(PYTHON) is older than 3.11; install Python 3.11 or run: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "setup: $(PYTHON) has no venv module; install it (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@command -v g++ >/dev/null || { echo "setup: no g++ found; install a C++ compiler (Debian: apt-get install g++)" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

board-env: $(BOARD_STAMP) ## create .venv-board with the unmodified pynq, for the virtual board

# An environment of its own, as on a board: pynq 4.0.0 needs numpy < 2 and another grpcio.
$(BOARD_STAMP): constraints-board.txt $(STAMP)
	"$(PYTHON)" -m venv $(BOARD_VENV)
	$(BOARD_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-board.txt pynq numpy h5py finn-plus-driver ipykernel nbclient
	@touch $@

demo: $(BOARD_STAMP) ## the whole chain on synthetic data, report in out/demo
	$(BIN)/aaronnet demo

lint: $(STAMP) ## format, lint and type checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint $(BOARD_STAMP) ## lint, types and the quick tests
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m "not slow and not benchmark" $(SPREAD)

test-slow: $(BOARD_STAMP) ## the long tests
	$(BIN)/python -m pytest -m slow

benchmark: $(STAMP) ## speed ratios, measured side by side
	$(BIN)/python -m pytest -m benchmark -s tests/benchmarks

results: $(STAMP) ## measure and write docs/results.md (PUBLISHED=FOLDER DATA=FILE: also the published checkpoints)
	$(BIN)/python docs/results.py $(if $(PUBLISHED),--published $(PUBLISHED) --data $(DATA))

clean: ## remove what was generated (not .venv)
	rm -rf out .mypy_cache .pytest_cache .ruff_cache
