# Everything starts here; `make` alone prints the targets.
# A stranger needs Python >= 3.11 and the package index; every target that needs .venv makes it first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.DELETE_ON_ERROR:

# The first interpreter that really runs and is new enough (a version manager's shims may not run).
PYTHON  ?= $(shell for p in python3 python python3.13 python3.12 python3.11; do \
             $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PROFILE ?= default
DATA    ?=
VENV    := .venv
RUN     := $(VENV)/bin/python
READY   := $(VENV)/.ready

help:  ## print this list
	@awk 'BEGIN {FS = ":.*##"} /^[a-z%A-Z-]+:.*##/ {printf "  \033[1mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PROFILE=default|smoke|real    DATA=folder-or-archive (with report-NN)"

# ------------------------------------------------------------------ set-up
env: $(READY)  ## make .venv with every dependency pinned by hash

# pip refuses an editable install beside hashed pins, hence two calls.
$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 found (python3 is $$(python3 --version 2>&1)); try: make PYTHON=/path/to/python3.11 env"; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) (about 6 GB on Linux, a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Writes the pins anew from the ranges of pyproject.toml. torch and torchvision are held to a matching pair there.
lock:  ## resolve the pins again (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet --output-file requirements.txt
	@{ printf 'name: imgcls\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n'; \
	   sed -n -E 's/^([a-z0-9][^\\]*[^ \\]) *\\$$/      - "\1"/p' requirements.txt; \
	   echo '      - "--editable ."'; } > environment.yml

# ------------------------------------------------------------------ checks
lint: $(READY)  ## check style, types of names, and that notebooks carry no outputs
	@$(RUN) -m ruff check --quiet . && $(RUN) -m ruff format --check --quiet . && echo "lint: clean"

test: $(READY)  ## run every test (at most 8 minutes on two cores)
	@$(RUN) -m pytest

clean:  ## remove what was made, but not .venv and data/
	@rm -rf build reports .pytest_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: help env lock lint test clean
