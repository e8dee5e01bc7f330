# make train   installs if necessary, then trains:  make train ARGS="model=cnn data=cifar10"
# make test    installs if necessary, then tests:   make test ARGS="-k resume"
# make check   installs if necessary, then lint and types
# make next    tests with the next releases of the dependencies, in .venv-next

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A core for each of two processes. The tests of a file run in the same one, and share its fixtures and composed configs.
WORKERS := -n 2 --dist worksteal

.PHONY: train test check next
train: $(INSTALLED)
	$(BIN)/python train.py $(ARGS)

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Leyden needs Python 3.11 or newer: make train PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

NEXT := .venv-next

next: $(NEXT)/.installed
	PYTHONWARNINGS="ignore:register_new_resolver:UserWarning,ignore:The version_base:UserWarning" \
		OMP_NUM_THREADS=1 $(NEXT)/bin/python -m pytest $(WORKERS) \
		-W "ignore:register_new_resolver:UserWarning" -W "ignore:The version_base:UserWarning" $(ARGS)

# Without the dependencies of pyproject.toml: their upper bounds exclude these releases.
$(NEXT)/.installed: pyproject.toml constraints-next.txt
	$(PYTHON) -m venv $(NEXT)
	$(NEXT)/bin/python -m pip install --requirement constraints-next.txt
	$(NEXT)/bin/python -m pip install --no-deps --editable .
	touch $@
