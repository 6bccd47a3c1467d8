# Every target sets up what it needs: Python >= 3.11, make and a package index are enough. `make help` lists them.

PYTHON ?= python3
# The oldest supported versions have wheels for Python 3.11 and 3.12 only.
LOWEST_PYTHON ?= $(PYTHON)
# How long `make soak` goes on.
SECONDS ?= 300
# Extra arguments for what runs: make test ARGS=-x, make demo ARGS=--keep
ARGS ?=

# Anything here has `make test` measure branch coverage as well, which takes two thirds longer.
COVERAGE ?=
# Tests that wait leave the core to others: tests/conftest.py says how many run at a time. ARGS="-n 0" runs one.
PARALLEL := --numprocesses auto --dist worksteal
# Hundreds of tests start a process. Without bytecode each of those would compile the package anew.
export PYTHONDONTWRITEBYTECODE =

# What runs inside a user's model server, and so must run on the oldest versions as well.
LOWEST_TESTS := $(wildcard $(addprefix tests/,schema policy protocols telemetry catalog mirror interceptor \
	test_errors.py test_model.py test_names.py test_rpc.py test_settings.py test_pricing.py))

GENERATED := shadowmesh/schema
CONFIG_SCHEMA := $(GENERATED)/config.json
PIP := -m pip --quiet --disable-pip-version-check
# Hashes come from the lock; without isolation nothing outside the lock can enter the build either.
EDITABLE := install --no-deps --no-build-isolation --editable .
# The oldest Python resolves; what it picks installs on the later ones too.
COMPILE := .venv/bin/uv pip compile pyproject.toml --quiet --upgrade --generate-hashes --python-version 3.11 \
	--custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help check test stack servers e2e demo bench sim soak test-lowest generate check-generated lock clean python

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

check: .venv/.installed check-generated ## lint, format, types, import contracts, generated files
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

test: .venv/.installed ## the tests, many at a time; COVERAGE=1 for branch coverage too
ifeq ($(COVERAGE),)
	.venv/bin/pytest $(PARALLEL) $(ARGS)
else
	.venv/bin/coverage erase
	.venv/bin/coverage run -m pytest $(PARALLEL) $(ARGS)
	.venv/bin/coverage combine
	.venv/bin/coverage report
endif

stack: | python ## the real Collector, Jaeger and Prometheus at pinned versions, built once per machine; needs Go
	@$(PYTHON) tests/stack/build.py $(ARGS)

servers: | python ## MLServer and KServe for the same tests, each in an environment of its own; Python 3.11 or 3.12
	@$(PYTHON) tests/stack/servers.py $(ARGS)

e2e: .venv/.installed ## the tests against them; skipped without, unless SHADOWMESH_REQUIRE_STACK=1
	.venv/bin/pytest tests/e2e tests/deploy -m e2e $(ARGS)

demo: .venv/.installed ## a live and a shadow model, mirrored, paired and compared
	.venv/bin/shadowmesh demo $(ARGS)

bench: .venv/.installed ## what the interceptor costs; ARGS="--quick --json FILE"
	.venv/bin/python tests/bench/overhead.py $(ARGS)

sim: .venv/.installed ## how often the verdict is wrong, and how soon it is right, by simulation; ARGS="--json FILE"
	.venv/bin/python tests/sim/simulate.py $(ARGS)

soak: .venv/.installed ## minutes of mixed traffic, and what it leaves behind; SECONDS=30 for a short one
	.venv/bin/python tests/soak/soak.py --seconds $(SECONDS) $(ARGS)

test-lowest: .venv-lowest/.installed .venv-protobuf6/.installed ## the interceptor's tests on the oldest versions, and on protobuf 6
	.venv-lowest/bin/python -m pytest $(PARALLEL) $(LOWEST_TESTS) $(ARGS)
	.venv-protobuf6/bin/python -m pytest $(PARALLEL) $(LOWEST_TESTS) $(ARGS)

generate: .venv/.installed ## what is made from proto/, and the schema of the configuration
	.venv/bin/python proto/generate.py $(GENERATED)
	.venv/bin/shadowmesh check-config --schema > $(CONFIG_SCHEMA)

check-generated: .venv/.installed
	.venv/bin/python proto/generate.py --check $(GENERATED)
	@.venv/bin/shadowmesh check-config --schema | cmp -s - $(CONFIG_SCHEMA) \
		|| { echo "$(CONFIG_SCHEMA) is stale: run make generate" >&2; exit 1; }

# Only the first is universal: where a package forks by Python version, uv may take different "lowest" versions per fork.
lock: .venv/.installed ## the pinned versions, upgraded
	$(COMPILE) --universal --all-extras --group dev --output-file requirements.lock
	$(COMPILE) --group test --resolution lowest-direct --output-file tests/environments/lowest.lock
	$(COMPILE) --group test --constraint tests/environments/protobuf6.constraints \
		--output-file tests/environments/protobuf6.lock
	$(COMPILE) tests/environments/mlserver.in --output-file tests/environments/mlserver.lock
	$(COMPILE) tests/environments/kserve.in --output-file tests/environments/kserve.lock

clean: ## everything a target made
	rm -rf .venv .venv-lowest .venv-protobuf6 build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find shadowmesh tests proto -name __pycache__ -prune -exec rm -rf {} +

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "ShadowMesh needs Python 3.11 or later, and '$(PYTHON)' is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }

# One stamp for the locked packages and one for the project, so that editing pyproject.toml does not start from nothing.
.venv/.locked: requirements.lock | python
	@echo "setting up .venv"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python $(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml
	@.venv/bin/python $(PIP) $(EDITABLE)
	@touch $@

.venv-%/.installed: tests/environments/%.lock pyproject.toml | python
	@$(LOWEST_PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' \
		|| { echo "the oldest versions have no wheels for Python 3.13 and later: make $@ LOWEST_PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up .venv-$*"
	@$(LOWEST_PYTHON) -m venv --clear .venv-$*
	@.venv-$*/bin/python $(PIP) install --require-hashes --requirement $<
	@.venv-$*/bin/python $(PIP) $(EDITABLE)
	@touch $@
