# Every target sets itself up: `python3` and `make` are all that is needed.
PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 2
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: demo test test-all test-faults notebooks lint format clean

# Train for two minutes on Shakespeare's plays, then let the model write.
demo: $(READY)
	$(BIN)/tfcharlm train shakespeare --minutes $(MINUTES) --name demo
	@echo
	@echo '$$ tfcharlm sample saved_models/demo --prompt "ROMEO:" --length 400 --temperature 0.6 --seed 1'
	@$(BIN)/tfcharlm sample saved_models/demo --prompt "ROMEO:" --length 400 --temperature 0.6 --seed 1

# The mathematics and everything that stands on it, in ten minutes or so.
test: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# The same and what takes minutes.
test-all: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m ""

# Trainings that are killed 200 times, at every call of a save too, and all that breaks on a disk; half an hour or so.
test-faults: $(READY)
	$(BIN)/python -m pytest -q -s tests/faults -m ""

# The five notebooks from top to bottom, their outputs written in place; one to three minutes each.
notebooks: $(READY)
	$(BIN)/python notebooks/run.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache .hypothesis

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --editable ".[corpora,plots,dev]"
	touch $@
