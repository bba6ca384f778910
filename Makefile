# The commands of the README: `make train` and `make test`; and `make test-all`. Everything lives in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ALL    := $(VENV)/.ready-all

# The kernels are tested with a second release of Numba, too: the oldest that setup.cfg allows.
NUMBA  ?= 0.64.0
OTHER  := .venv-numba

# The peer that most tests of peers compare with, pinned: its wheel is large. A machine without an NVIDIA GPU
# wants the CPU build, which PyTorch's own index has: make test-all TORCH='torch==2.13.0 --index-url ...'
TORCH  ?= torch==2.13.0

# Its models are compared with ours. Without what it depends on, so that it never replaces the build of torch.
TORCHVISION ?= torchvision==0.28.0

# The tests start hundreds of processes: each would compile the sources again if bytecode were not kept.
unexport PYTHONDONTWRITEBYTECODE

# A process for each core: with threads of their own they would wait for each other.
PYTEST = MINIALEX_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# What `make test-all` leaves out: --after-quick, where `make test` has just run on the same files.
AFTER  ?=

.PHONY: train test test-all test-numba lint format clean help

help:            ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

train: $(READY)  ## set up, then train AlexNet on 5,000 real handwritten digits
	$(BIN)/minialex train

test: $(READY) lint  ## lint, then every kernel, gradient, command and contract on small draws: minutes
	$(PYTEST)

test-all: $(ALL) lint test-numba  ## everything, with peers, all GPU architectures and more draws: three quarters of an hour
	$(PYTEST) --full $(AFTER)

test-numba: BIN := $(OTHER)/bin
test-numba: $(OTHER)/.ready-$(NUMBA)  ## the kernels of the CPU, on small draws, with another release of Numba
	$(PYTEST) tests/kernels -k 'not cuda'

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	@# The floors, on the package as it is installed: with kernels/ inside it.
	rm -rf build/house && mkdir -p build/house
	cp -r minialex build/house/ && cp -r kernels build/house/minialex/
	cd build/house && $(CURDIR)/$(BIN)/lint-imports --no-cache --no-logo $(CURDIR)/pyproject.toml

format: $(READY) ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove the environment and the caches
	rm -rf $(VENV) $(OTHER) build *.egg-info .pytest_cache .ruff_cache .hypothesis

$(READY): setup.cfg setup.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "MiniAlex needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[digits,test]'
	touch $@

$(ALL): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(TORCHVISION)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[digits,test,bench,cuda-compile]'
	touch $@

$(OTHER)/.ready-$(NUMBA): setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv --clear $(OTHER)
	$(OTHER)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[digits,test]' 'numba==$(NUMBA)'
	touch $@
