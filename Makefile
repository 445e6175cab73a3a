# Everything starts here; `make` alone prints the targets.
# You need Python >= 3.11 and the package index; every target that needs .venv makes it first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.DELETE_ON_ERROR:

# The first interpreter that really runs and is new enough (a version manager's shims may not run).
PYTHON  ?= $(shell for p in python3 python python3.13 python3.12 python3.11; do \
             $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PROFILE ?= default
DATA    ?=
WORKERS ?= 3
VENV    := .venv
RUN     := $(VENV)/bin/python
READY   := $(VENV)/.ready
UV      := $(VENV)/bin/uv pip install --system-certs --compile-bytecode --python $(RUN)

help:  ## print this list
	@awk 'BEGIN {FS = ":.*##"} /^[a-z%A-Z-]+:.*##/ {printf "  \033[1mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PROFILE=default|smoke|real    DATA=folder-or-archive (with report-NN)"

# ------------------------------------------------------------------ set-up
env: $(READY)  ## make .venv with every dependency pinned by hash

# A virtual environment holds its own path: in a project folder that was moved or copied, it is made again.
MADE_IN := $(shell cat $(READY) 2>/dev/null)
MOVED   := $(if $(MADE_IN),$(shell test "$$(cat $(READY))" = "$$(pwd -P)" || echo moved))
ifneq ($(MOVED),)
$(READY): FORCE
endif

# pip brings uv, whose pin and hashes are those of requirements.txt; uv brings the rest and shows how far it is.
# An editable install is refused beside hashed pins, hence another call. uv does not read pip's settings, such as a mirror.
$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python >= 3.11 found (python3 is $$(python3 --version 2>&1)); try: make PYTHON=/path/to/python3.11 env"; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) (about 7 GB on Linux, one to a few minutes)"
	@$(if $(MOVED),echo "This folder was moved or copied from $(MADE_IN): its $(VENV) is made again")
	@test ! -L $(VENV) || rm $(VENV)
	@$(PYTHON) -m venv $(if $(MOVED),--clear) $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r <(awk '/^[^ ]/ {uv = /^uv==/} uv' requirements.txt)
	@$(UV) --require-hashes -r requirements.txt || { echo "uv could not bring the packages (see above); pip, with settings of its own, tries now, which is slower"; \
	  $(RUN) -m pip install --disable-pip-version-check --require-hashes -r requirements.txt; }
	@$(UV) --quiet --no-deps --no-build-isolation --editable .
	@pwd -P > $@

# Pins from the ranges of pyproject.toml, which also holds torch and torchvision to a matching pair.
lock: $(READY)  ## resolve the pins again
	@$(VENV)/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet --output-file requirements.txt
	@$(VENV)/bin/uv pip compile pyproject.toml --extra bench --constraint requirements.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements-bench.txt
	@{ printf 'name: imgcls\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n'; \
	   sed -n -E 's/^([a-z0-9][^\\]*[^ \\]) *\\$$/      - "\1"/p' requirements.txt; \
	   echo '      - "--editable ."'; } > environment.yml

# ------------------------------------------------------------------ checks
lint: $(READY)  ## check style and formatting, notebooks too
	@$(RUN) -m ruff check --quiet . && $(RUN) -m ruff format --check --quiet . && echo "lint: clean"

# Three workers keep two cores busy, because many tests wait for subprocesses. Those need compiled modules to start fast.
# A worker that dies ends the run: pytest-xdist would otherwise wait for ever for the rest of its group.
test: $(READY)  ## run every test (at most 8 minutes on two cores)
	@env -u PYTHONDONTWRITEBYTECODE $(RUN) -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --max-worker-restart 0

clean:  ## remove everything that was built except .venv and data/
	@rm -rf build reports .pytest_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: help env lock lint test clean

# ------------------------------------------------------------------ reports
# Executing and rendering are two steps with a file between them: a new template renders again and trains nothing.
# A notebook runs again when it, its parameters or DATA change, but not when the library does (make clean, or -B).
export IMGCLS_ROOT := $(CURDIR)
CASES    := $(patsubst notebooks/%.ipynb,%,$(sort $(wildcard notebooks/[0-9][0-9]_*.ipynb)))
EXECUTED := build/executed/$(PROFILE)
OUT      := reports$(if $(filter-out default,$(PROFILE)),/$(PROFILE))
PAGES    := $(CASES:%=$(OUT)/%.html)
RENDERER := $(wildcard course/reports/template/*) $(addprefix course/reports/,export.py markup.py math.py pages.py) \
            course/contents.py course/exercises/__init__.py $(wildcard notebooks/course.toml)
TIMEOUT  ?= $(if $(filter real,$(PROFILE)),14400,3600)
REQUEST   = --profile '$(PROFILE)' $(if $(DATA),--data '$(subst ','\'',$(DATA))') $(ARGS)
REPORTS  := $(RUN) -m course.reports

# One notebook that fails must not keep the others from being built.
ifneq ($(filter reports,$(MAKECMDGOALS)),)
MAKEFLAGS += --keep-going
ifneq ($(DATA),)
$(error DATA goes with one report, as in: make report-05 DATA='$(DATA)')
endif
endif

reports: $(PAGES) $(OUT)/index.html  ## run the notebooks that are not up to date, and write reports/index.html
	+@echo "$(OUT)/index.html is up to date"

# Before any notebook runs; says nothing if all are up to date.
ifneq ($(filter reports,$(MAKECMDGOALS)),)
$(CASES:%=$(EXECUTED)/%.inputs): | estimate
endif
estimate: | $(READY)
	-+@$(REPORTS) estimate --profile '$(PROFILE)' $(ARGS)

# Every command below updates the index; this rule is for a deleted one.
$(OUT)/index.html: $(PAGES) | $(READY)
	@$(REPORTS) index --profile '$(PROFILE)'

define case_rule
report-$(firstword $(subst _, ,$(1))): $(OUT)/$(1).html
	+@echo "$$< is up to date"
endef
$(foreach case,$(CASES),$(eval $(call case_rule,$(case))))

report-%: FORCE | $(READY)  ## one report, as in: make report-05 PROFILE=real DATA=folder-or-archive
	+@$(REPORTS) check '$*' $(REQUEST)

$(PAGES): $(OUT)/%.html: $(EXECUTED)/%.ipynb $(RENDERER)
	@$(REPORTS) render $* --profile '$(PROFILE)'

# With several jobs, notebooks wait for each other: two at once would share the cores, and their times would be wrong.
$(CASES:%=$(EXECUTED)/%.ipynb): $(EXECUTED)/%.ipynb: notebooks/%.ipynb $(EXECUTED)/%.inputs
	@$(REPORTS) execute $* $(REQUEST) --timeout $(TIMEOUT)

# Checked every time, rewritten only when parameters or data differ ("+": also with -n and -q, for a correct plan).
$(CASES:%=$(EXECUTED)/%.inputs): $(EXECUTED)/%.inputs: FORCE | $(READY)
	+@$(REPORTS) check $* $(REQUEST) --stamp

figures: $(READY)  ## copy figures and numbers of the finished reports (PROFILE=real) for the README
	@$(REPORTS) figures --profile '$(PROFILE)'

# The other libraries are installed on demand; nothing else needs them.
$(VENV)/.bench-ready: requirements-bench.txt $(READY)
	@$(UV) --require-hashes -r requirements-bench.txt
	@touch $@

bench: $(VENV)/.bench-ready  ## measure speed and difficulty, and compare with other libraries
	@$(RUN) -m benchmarks

# The file browser shows the whole project, beginning with notebooks/; course/jupyterlab/ turns the news off.
# tqdm, which other libraries import, warns in every notebook that it would like to have widgets.
lab: $(READY)  ## open notebook 00 in JupyterLab
	@PYTHONWARNINGS='ignore:IProgress not found' $(RUN) -m jupyterlab --ServerApp.root_dir='$(CURDIR)' --log-level=WARN \
	  --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb --LabApp.app_settings_dir='$(CURDIR)/course/jupyterlab' $(ARGS)

exercises: $(READY)  ## write the notebooks without solutions to build/exercises/
	@$(RUN) -m course.exercises write

app: $(READY)  ## open the page that classifies pictures with trained models
	@$(RUN) -m imgcls.app $(ARGS)

FORCE:
.PHONY: reports estimate figures bench lab exercises app FORCE $(foreach case,$(CASES),report-$(firstword $(subst _, ,$(case))))
