# What can be done with this checkout; `make help` lists it.

BIN := .venv/bin
# more than there are cores: much of a test is waiting for servers
WORKERS ?= $(shell expr $$(nproc) + 2)
# the tests of a file share what they set up, so they stay together; files go in the order of tests/conftest.py
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
ARGS ?=
N ?= 200

.DEFAULT_GOAL := help
.PHONY: help setup dev demo test test-backends lint format lock bench docs simulate clean \
	test-kernel test-contract test-api test-cli test-federation test-distributed test-simulation test-browser test-clients test-fuzz

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

setup:  ## everything needed to run: .venv/bin/inglenook
	@scripts/setup

dev:  ## everything needed to work on it
	@scripts/setup --dev

demo: setup  ## two servers that share a folder; CHECK=1 verifies and ends
	@$(BIN)/inglenook demo $(if $(CHECK),--check)

# what `make test` also runs over the other backends (5: ARGS leaves none of them)
OVER_BACKENDS = tests/api/test_documents_single.py tests/api/test_documents_changes.py tests/api/test_documents_mango.py \
	tests/api/test_files_upload.py tests/api/test_files_changing.py tests/api/test_identity_instances.py \
	tests/federation/test_operations.py

# commands that move or check what a backend keeps
OVER_BACKENDS_ALONE = tests/cli/test_archives.py tests/cli/test_backup.py tests/cli/test_check.py

test: dev  ## all tests (ARGS= more arguments of pytest)
	@$(PYTEST) $(ARGS)
	@$(PYTEST) $(ARGS) --backend distributed $(OVER_BACKENDS) || [ $$? = 5 ]
	@$(PYTEST) $(ARGS) --backend workers tests/federation/test_operations.py || [ $$? = 5 ]

test-backends: dev  ## the API and federation over every backend
	@$(PYTEST) --backend distributed tests/api tests/federation $(OVER_BACKENDS_ALONE) $(ARGS)
	@$(PYTEST) --backend workers tests/federation $(ARGS)

test-kernel test-contract test-api test-cli test-federation test-distributed test-simulation test-browser test-clients test-fuzz: test-%: dev
	@$(PYTEST) tests/$* $(ARGS)

lint: dev  ## style, types and layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

format: dev  ## put the code into its usual form
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: dev  ## renew the locks from pyproject.toml
	@$(BIN)/python -m pip install -q uv
	@$(BIN)/uv pip compile -q pyproject.toml --python-version 3.11 --no-header --no-annotate -o requirements.lock
	@$(BIN)/uv pip compile -q pyproject.toml --extra dev --python-version 3.11 --no-header --no-annotate -o requirements-dev.lock

bench: dev  ## measurements
	@$(BIN)/python -m bench $(ARGS)

docs: dev  ## the documentation, checked
	@$(BIN)/pytest tests/docs $(ARGS)

simulate: dev  ## N= seeds of many servers with faults on virtual time
	@$(BIN)/python -m tests.simulation --count $(N) $(ARGS)

clean:  ## remove what was made
	@rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
