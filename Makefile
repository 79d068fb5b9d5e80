# make run    the main job, on unprivileged ports, from nothing but Python 3.11 and make
# make test   everything the tests need, then all of them
# make check  format, lint, types
# make bench  the benchmarks, beside their peers
# make dist   dist/lanpost.pyz: the program in one file (needs network the first time)
# make deb    dist/lanpost_VERSION_all.deb: that file as a Debian package
# make docs   docs/cli.md and docs/states.md anew, from the code
# make lock   pin the dependencies anew (needs network)

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test check format bench dist deb docs lock clean debian

run: .make/run
	$(BIN)/lanpost demo $(ARGS)

test: .make/test debian check
	scripts/run-tests $(ARGS)

check: .make/test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: .make/test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .make/test .make/bench debian
	$(BIN)/python -m bench $(ARGS)

dist: .make/run
	scripts/make-dist $(ARGS)

deb: dist
	scripts/make-deb

docs: .make/run
	$(BIN)/python scripts/make-cli-docs > .make/cli.md && mv .make/cli.md docs/cli.md
	$(BIN)/python scripts/make-state-docs > .make/states.md && mv .make/states.md docs/states.md

debian:
	scripts/install-peers

.make/run: requirements/run.txt pyproject.toml scripts/make-venv
	scripts/make-venv $(PYTHON) $(VENV) requirements/run.txt
	@mkdir -p .make && touch $@

.make/test: requirements/test.txt pyproject.toml scripts/make-venv
	scripts/make-venv $(PYTHON) $(VENV) requirements/test.txt
	@mkdir -p .make && touch .make/run $@

# The codecs that ours is measured beside; nothing else needs them.
.make/bench: requirements/bench.txt .make/test
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/bench.txt
	@touch $@

lock:
	scripts/lock

clean:
	rm -rf $(VENV) .make
