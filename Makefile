# The two commands of the README: `make train` and `make test`. Everything lives in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: train test lint format clean help

help:            ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

train: $(READY)  ## set up, then train AlexNet on 5,000 real handwritten digits
	$(BIN)/minialex train

# A process for each core: with threads of their own they would wait for each other.
test: $(READY) lint  ## lint, then every test
	MINIALEX_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove the environment and the caches
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis

$(READY): setup.cfg setup.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "MiniAlex needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[digits,test]'
	touch $(READY)
