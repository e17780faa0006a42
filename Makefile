# Two commands are enough on a fresh machine: `make run` and `make test`.
# They need Python 3.11 or later, make and the Python package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
STAMPS := $(VENV)/.stamps
SOURCES := setup.cfg pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv venv-test venv-doc run system-packages lint format unit functional test bench \
	chaos ring pictures docs genconfig clean

help:  ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

venv: $(STAMPS)/venv  ## .venv with every command of obmd in .venv/bin
	@:

venv-test: $(STAMPS)/venv-test  ## .venv and what tests and lint need
	@:

venv-doc: $(STAMPS)/venv-doc  ## .venv and what the documentation needs
	@:

run: venv  ## obmd on http://127.0.0.1:8380 with simulated BMCs, see OBMD_STATE_DIR, OBMD_DEMO_NODES
	@exec $(BIN)/obmd --demo

system-packages: venv-test  ## as root: install what tests need of the system; else tell what lacks
	@tools/system-packages $(BIN)/bindep

lint: venv-test  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: venv-test  ## let ruff format everything
	$(BIN)/ruff format .

unit: venv-test  ## fast tests: no network, no server
	$(BIN)/python -m pytest -q tests/unit

functional: venv-test  ## tests on real BMC simulators, RabbitMQ and databases
	$(BIN)/python tools/functional.py

test: system-packages  ## everything that must pass: lint, unit, functional
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory functional

bench: system-packages  ## measure against ipmipower and ipmitool on the same simulated BMCs
	$(BIN)/python -m bench

chaos: system-packages  ## 100 random faults on 600 simulated BMCs, an hour; CHAOS="--help" tells more
	$(BIN)/python -m tests.functional.chaos $(CHAOS)

ring: venv-test  ## play 100,000 nodes and up to 100 conductors; the data of doc/source/scaling
	$(BIN)/python -m bench.ring --json doc/source/scaling/ring.json

pictures: venv-test  ## draw doc/source/scaling/*.svg from the data beside them
	$(BIN)/python -m bench.pictures

docs: venv-doc  ## documentation as HTML in doc/build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html doc/source doc/build/html

genconfig: venv  ## write etc/obmd/obmd.conf.sample from the options in the code
	PYTHONWARNINGS=ignore $(BIN)/oslo-config-generator --config-file etc/obmd/config-generator.conf

clean:  ## remove .venv and everything else that was made
	rm -rf $(VENV) build dist doc/build obmd.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'obmd needs Python 3.11 or later; "$(PYTHON)" is not. Try: make PYTHON=python3.12' >&2; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo '"$(PYTHON) -m venv" failed; on Debian: apt-get install python3-venv' >&2; exit 1; }

$(STAMPS)/venv: $(SOURCES) | $(BIN)/python
	@echo 'Preparing $(VENV) ...'
	@$(PIP) install -c constraints.txt -e .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv-test: $(STAMPS)/venv
	@$(PIP) install -c constraints.txt -e '.[aws,azure,test,dev,bench]'
	@touch $@

$(STAMPS)/venv-doc: $(STAMPS)/venv
	@$(PIP) install -c constraints.txt -e '.[doc]'
	@touch $@
