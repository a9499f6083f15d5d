# Every target makes .venv and installs into it when needed. PYTHON chooses the interpreter, ARGS adds options.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out
ARGS ?=
# How much `make bench` times: quick (each benchmark once; its times mean nothing), fast or full.
PROFILE ?= fast
# Processes that share the tests; benchmarks always have the machine to themselves.
WORKERS ?= 2
# Compiled tests are kept, even where the environment says otherwise: compiling them takes seconds, in every worker.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
PYTEST_TESTS := $(PYTEST) tests/ --numprocesses $(WORKERS) --dist load

.DEFAULT_GOAL := help
.PHONY: help setup bench bench-quick bench-check bench-selftest results pictures test test-fast test-exhaustive test-ray trials soak lint types docs format clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(READY)  ## make .venv and install the project with its tools

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is wanted") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

bench: $(READY)  ## compare the methods on the built-in images, then time everything (4 to 12 minutes)
	$(BIN)/transfer run --store $(OUT)/store --out $(OUT) $(ARGS) >/dev/null
	status=0; $(BIN)/python -m pytest bench --quiet -rfEs --profile $(PROFILE) --benchmark-quiet --benchmark-json=$(OUT)/benchmarks.json || status=$$?; \
	test $$status -le 1 || exit $$status; `# 1: something failed, and the others were timed` \
	$(BIN)/python -m bench.reporting.record $(OUT)/result.json $(OUT)/benchmarks.json --out $(OUT)/record.json && \
	$(BIN)/python -m bench.reporting.summary $(OUT)/record.json --html $(OUT)/bench.html && exit $$status

results: $(READY)  ## keep the last result of make bench in results/ and regenerate results/README.md
	$(BIN)/python -m bench.reporting.recorded $(OUT)/record.json $(ARGS)

pictures: $(READY)  ## the pictures of the documents, from the last make bench (needs chromium and chromedriver)
	$(BIN)/python -m tools.pictures $(OUT) docs/pictures

bench-quick: $(READY)  ## run every benchmark once, to see that it works; its times mean nothing
	$(BIN)/python -m pytest bench --quiet --profile quick $(ARGS)

bench-check: $(READY)  ## is the tree slower than BASE? make bench-check BASE=main
	$(if $(BASE),,$(error give the revision to compare with, such as BASE=main))
	$(BIN)/python -m bench.gate $(BASE) $(ARGS)

bench-selftest: $(READY)  ## does the gate see work that was added, and nothing where none was?
	$(BIN)/python -m bench.gate.selftest $(ARGS)

test: $(READY)  ## pytest tests/
	$(PYTEST_TESTS) $(ARGS)

test-fast: $(READY)  ## the same without the slow tests
	$(PYTEST_TESTS) -m "not slow and not exhaustive and not ray and not trial" $(ARGS)

test-exhaustive: $(READY)  ## every kind of network, every setting on the lab's features, what compiles or quantises
	$(PYTEST_TESTS) -m exhaustive $(ARGS)

test-ray: $(READY)  ## workers of a Ray cluster on this machine, killed and started again
	$(PYTEST) tests/ -m ray --quiet $(ARGS)

trials: $(READY)  ## the store killed, raced for and damaged, hostile files: hundreds of cases each
	$(PYTEST) tests/ -m trial --quiet $(ARGS)

soak: $(READY)  ## the same for an hour, with other seeds each time
	$(BIN)/python -m tests.trials $(ARGS)

lint: $(READY)  ## ruff: lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy
	$(BIN)/mypy

docs: $(READY)  ## the documentation as a site, in site/; any warning is an error
	$(BIN)/mkdocs build --quiet --strict $(ARGS)

format: $(READY)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what the other targets made, the features too; .venv stays
	rm -rf $(OUT) build dist site .mypy_cache .pytest_cache .ruff_cache .benchmarks
