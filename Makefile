# `make help` lists what there is. Everything is made inside this folder: the environment in .venv, the rest in build/.
.DEFAULT_GOAL := help
.PHONY: help venv book pages figures outputs lab test lint lock clean

# Threads that wait spin for a moment and then sleep. By default they spin on, and where something else runs on the same
# two cores that makes training many times slower; asleep at once, they are slow to wake on an idle machine.
export GOMP_SPINCOUNT ?= 20000

# Python may keep what it has compiled, also where the surroundings forbid that: without it each chapter's kernel and
# each test's process compiles all it imports again, 4 seconds a time.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXECUTED := build/executed
FIGURES := build/figures
CHAPTERS ?=
WORKERS ?= 2

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16

# Installed anew whenever what to install has changed. -qq: errors only; --no-compile: Python compiles what is imported,
# which is a small part of what is installed.
$(STAMP): pyproject.toml constraints.txt
	@echo "installing into $(VENV): 2 to 4 minutes, once"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -qq --no-compile -c constraints.txt -e '.[solve,graph,mtl,data,text,notebooks,book,dev]'
	@touch $@

venv: $(STAMP) ## the environment in .venv

book: venv ## execute the chapters on the shipped data (what is unchanged is reused) and render the book
	$(BIN)/taskgroup execute $(CHAPTERS) --scale embedded --workers $(WORKERS) --out $(EXECUTED)
	$(BIN)/python -m taskgroup_core.runs.book --executed $(EXECUTED)

pages: venv ## render the book from what is executed already, or from the stored smoke outputs
	$(BIN)/python -m taskgroup_core.runs.book --executed $(EXECUTED)

figures: venv ## all figures of the book as PNG and PDF in build/figures
	$(BIN)/taskgroup execute $(CHAPTERS) --scale embedded --workers $(WORKERS) --out $(EXECUTED)
	@rm -rf $(FIGURES) && cp -R $(EXECUTED)/embedded/figures $(FIGURES)
	@find $(FIGURES) -type f | sort

outputs: venv ## run notebooks/ at the smoke scale and store their outputs, which the tests compare with
	$(BIN)/python -m taskgroup_core.runs.notebook_files $(CHAPTERS)

lab: venv ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

lint: venv ## style, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Two workers with one thread each: threads that wait for one another on two cores cost more than they bring.
# No progress bars: one that a busy machine brings out is no part of the stored outputs.
test: lint ## lint, then all tests, the notebooks' stored outputs and the rendered site included
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval_sanitise.cfg tests notebooks

lock: ## renew constraints.txt from the bounds of pyproject.toml
	$(PYTHON) -m venv --clear build/lock
	build/lock/bin/python -m pip install -qq -e '.[solve,graph,mtl,data,text,notebooks,book,dev]'
	@{ grep '^#' constraints.txt; build/lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > build/lock.txt
	@mv build/lock.txt constraints.txt && rm -r build/lock

clean: ## remove what was made, the environment excepted
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
