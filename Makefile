# install makes .venv with all that running and testing need; the other targets call it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Where there is a C compiler, the tests that start gateways start the compiled one; COMPILED= leaves that out.
COMPILED ?= $(if $(shell command -v cc),build/compiled)

.PHONY: install run test check bench format schema update-prices docs dev-rebuild-api

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

run: install
	$(BIN)/kubechat-gateway serve --config config/gateway.yaml $(ARGS)

# The gateway with its request path compiled (setup.py), as the image has it.
build/compiled: setup.py pyproject.toml $(shell find gateway -type f -not -name '*.pyc') | install
	rm -rf build
	GATEWAY_COMPILE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ .
	touch $@

test: install $(COMPILED)
	$(if $(COMPILED),COMPILED_GATEWAY=$(abspath $(COMPILED))) $(BIN)/python -m pytest -n 2 $(ARGS)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/python -m benchmarks $(ARGS)

# The tables of docs/providers.md come of a test run: make test ARGS="-m shows --write-providers docs/providers.md"
docs: install
	$(BIN)/python -m gateway.settings.docs docs/configuration.md
	$(BIN)/python -m gateway.metrics.document docs/metrics.md
	$(BIN)/python -m gateway.server.error_page docs/errors.md

schema: install
	$(BIN)/python -m gateway.store.schema_dump schema.sql

update-prices: install
	$(BIN)/python -m gateway.services.prices.update

# IMAGE_BUILDER builds DIR as TAG: docker by default.
IMAGE ?= kubechat-gateway:dev
dev-rebuild-api:
	$(if $(IMAGE_BUILDER),$(IMAGE_BUILDER) . $(IMAGE),docker build --tag $(IMAGE) .)
