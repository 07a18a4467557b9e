# make demo: distil the embedded model and print the table; make test: the quick tests. Both set up by themselves.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TYPING := build/typing

.DEFAULT_GOAL := test
.PHONY: setup docs demo test test-slow check bench bench-coverage bench-paper check-coverage

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: $(STAMP)
	$(BIN)/fxprune distill --model demo --dataset demo --target-params 25% --max-steps 600 --output out/demo --overwrite

# one thread a worker: the tests are many small models, and threads of several workers would only wait for each other
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --maxprocesses 4 --dist worksteal

test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m slow -n auto --maxprocesses 4 --dist worksteal

# mypy reads no import hook of an editable install: it gets the installed layout as a tree of links
check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	rm -rf $(TYPING) && mkdir -p $(TYPING)/fxprune
	ln -s $(CURDIR)/fxprune/* $(CURDIR)/passes $(CURDIR)/cli $(CURDIR)/recipes $(TYPING)/fxprune/
	cd $(TYPING) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache

# every architecture, each in a process of its own, and Torch-Pruning beside
bench-coverage: $(STAMP)
	$(BIN)/python benchmarks/coverage.py --output out/coverage.json

# what CI runs of it: the same rows without the peer; fails if a target is missed
check-coverage: $(STAMP)
	$(BIN)/python benchmarks/coverage.py --no-peer --check

# the paper's questions, briefly: 40 minutes on 2 cores; DATA=folder reads text and tasks from there instead of the hub
bench-paper: $(STAMP)
	$(BIN)/python benchmarks/paper.py --short $(if $(DATA),--data $(DATA))

docs: $(STAMP)
	$(BIN)/python docs/rules.py

bench: $(STAMP)
	$(BIN)/python benchmarks/speed.py
