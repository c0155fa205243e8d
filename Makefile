# Every target sets up what it needs. `make demo` is the place to start.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONFIG ?= config.toml

.PHONY: help setup demo serve test bench check format clean

help:
	@echo "make demo    two drawn heads through the whole node, with pictures (start here)"
	@echo "make serve   the node, from config.toml"
	@echo "make test    all tests      make check   ruff, mypy, import-linter"
	@echo "make bench   against dcmtk, Orthanc, SimpleITK, dcmqi, nnU-Net; writes docs/performance.md"
	@echo "make setup   .venv with everything pinned (other targets call it)"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml tools/setup.sh
	@PYTHON=$(PYTHON) VENV=$(VENV) bash tools/setup.sh
	@touch $@

demo: setup
	@$(BIN)/dicomnode demo --out demo-out

serve: setup
	$(BIN)/dicomnode serve --config $(CONFIG)

test: setup
	@bash tools/peers.sh
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

bench: setup
	@bash tools/peers.sh
	PYTHONPATH=. $(BIN)/python bench/report.py --short

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases bench/*.py
	$(BIN)/lint-imports --no-cache --no-logo

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo-out
