# Everything a newcomer needs: `make demo`, `make test`. Everything a contributor needs: `make check`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: help demo test browser check fix chart bench bench-delivery bench-cluster bench-console bench-watcher docs lock clean
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("kubewitness needs Python 3.11 or newer, this is %s; try: make PYTHON=python3.12 ..." % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the locked dependencies into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Run the main job on this machine (ARGS=--once exits at the end)
	@$(BIN)/kubewitness demo $(ARGS)

test: $(STAMP) ## Run the tests; with KUBEBUILDER_ASSETS also against a real API server; pages in a browser after `make browser`
	$(BIN)/python -m pytest $(ARGS)

browser: ## Get what the tests of the pages need: Chromium, Node.js, playwright-core and axe-core
	@.ci/browser

check: $(STAMP) ## Format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP) ## Format and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure throughput, latency, diff, size, memory and deliveries as ratios in one run
	$(BIN)/python -m tests.bench.run $(ARGS)

bench-delivery: $(STAMP) ## Measure deliveries alone: their rate, and how a backlog of 100,000 drains
	$(BIN)/python -m tests.bench.delivery $(ARGS)

bench-cluster: $(STAMP) ## Measure PATCH latency through a real API server (needs KUBEBUILDER_ASSETS)
	$(BIN)/python -m tests.bench.cluster $(ARGS)

bench-console: $(STAMP) ## Measure the console with a ledger of 1,000,000 entries (ARGS=--quick: 100,000)
	$(BIN)/python -m tests.bench.console $(ARGS)

bench-watcher: $(STAMP) ## Measure the watcher with up to 20,000 finished Jobs (needs KUBEBUILDER_ASSETS)
	$(BIN)/python -m tests.bench.watcher $(ARGS)

docs: $(STAMP) ## Write the reference tables in docs/ from the code
	$(BIN)/python -m tests.reference

chart: $(STAMP) ## Write what is generated of the chart, and deploy/manifests from it (needs helm)
	$(BIN)/python -m tests.chart.generate

lock: ## Resolve the newest versions into the lock files (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --all-extras pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock

clean: ## Remove what the targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .demo build
