# Every target sets itself up: `python3` and `make` are all that is needed.
PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 2
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo test test-pure test-all test-faults notebooks docs package lint format clean

# Train for two minutes on Shakespeare's plays, then generate text.
demo: $(READY)
	$(BIN)/tfcharlm train shakespeare --minutes $(MINUTES) --name demo
	@echo
	@echo '$$ tfcharlm sample saved_models/demo --prompt "ROMEO:" --length 400 --temperature 0.6 --seed 1'
	@$(BIN)/tfcharlm sample saved_models/demo --prompt "ROMEO:" --length 400 --temperature 0.6 --seed 1

# The quick tests, in about eleven minutes on two cores.
test: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# What native kernels run in, with the kernels in TensorFlow. Those that call kernels themselves are in `make test`.
test-pure: $(READY)
	TFCHARLM_NATIVE=0 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests/analysis \
		tests/layers/test_cells.py tests/layers/test_capped_input_gate.py tests/model/test_fit.py tests/model/test_step.py \
		tests/faults/test_guard.py

# All tests, in about fifty minutes.
test-all: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m ""

# Trainings that are killed 200 times, and every kind of damage to files; half an hour or so.
test-faults: $(READY)
	$(BIN)/python -m pytest -q -s tests/faults -m ""

# The five notebooks from top to bottom, their outputs written in place; one to three minutes each.
notebooks: $(READY)
	$(BIN)/python notebooks/run.py

# The documentation site, docs/_build/html/index.html; a warning is an error.
docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# The source distribution and the wheel, checked; then what a user does after installing the wheel, and after installing
# from source without a C compiler.
package: $(READY)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv dist/venv
	dist/venv/bin/python -m pip install -qq dist/*.whl
	! command -v cc > /dev/null || dist/venv/bin/tfcharlm --show-config | grep "Kernels: native"
	cd dist && venv/bin/tfcharlm sample names --length 40 --seed 1
	CC=false dist/venv/bin/python -m pip install -qq --force-reinstall --no-deps dist/*.tar.gz
	dist/venv/bin/tfcharlm --show-config | grep "Kernels: those of TensorFlow"
	cd dist && venv/bin/tfcharlm sample names --length 40 --seed 1

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) *.egg-info build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): setup.cfg pyproject.toml setup.py $(wildcard tfcharlm/kernels/native/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --editable ".[corpora,plots,dev]"
	touch $@
