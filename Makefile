# `make book` and `make test` need nothing but Python ≥ 3.11: each makes .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB ?= attention
# As many processes as cores; what needs the book or a browser stays in one.
PYTEST = $(BIN)/python -m pytest -n auto --dist loadgroup
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help book test slow long bench experiments lab labs student grade lint storyteller clean

help:  ## show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

book: $(VENV)/.book  ## build the book into _build/html
	$(BIN)/jupyter-book build . -W -n --keep-going
	@echo "The book: $(CURDIR)/_build/html/index.html"

test: $(VENV)/.dev  ## lint and run every test, in a real browser too
	$(BIN)/python tests/system.py
	$(MAKE) --no-print-directory lint
	OMP_NUM_THREADS=1 $(PYTEST)

slow: $(VENV)/.dev  ## run the tests that `make test` leaves out because they take minutes
	$(PYTEST) -m 'slow and not gpu'

long: $(VENV)/.dev  ## train the storyteller again and compare; try each mistake in two kernels: half an hour
	$(BIN)/python -m pytest -m long

bench: $(VENV)/.dev  ## time the library, the pages and the grader against their peers
	$(BIN)/python -m tests.bench
	$(BIN)/python -m pytest -q -s -m bench
	$(BIN)/python -m tests.bench.pages
	$(BIN)/python -m tests.bench.grading

experiments: $(VENV)/.dev  ## run every experiment again, some minutes each, and store what it found
	$(BIN)/python -m tutor_lib.experiments

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(VENV)/.lab  ## open a lab in JupyterLab (make lab LAB=kv_cache); the chapters are there too
	$(BIN)/jupyter lab labs/$(LAB)/$(LAB).ipynb

labs: $(VENV)/.grade  ## generate labs/ from solutions/, enter them in the gradebook, try them
	$(BIN)/python -m tutor_lib.grading.build
	$(BIN)/tutor try

student: $(VENV)/.grade  ## pack what students need into build/transformers-course.zip
	$(BIN)/python -m tutor_lib.grading.student

grade: labs  ## grade submitted/*/$(LAB), write feedback and grades.csv
	$(BIN)/tutor grade $(LAB)
	$(BIN)/nbgrader generate_feedback $(LAB)
	$(BIN)/nbgrader export

storyteller: $(VENV)/.dev  ## train the model of the demos again, in ten minutes or less
	$(BIN)/python -m tutor_lib.train.storyteller

clean:  ## remove what was built; .venv stays
	rm -rf _build build .pytest_cache .mypy_cache .ruff_cache

# One stamp for each set of extras: installed again when the files that name them change.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install -c constraints.txt -e '.[$*]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version 2>&1)." \
	         "Name another with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
