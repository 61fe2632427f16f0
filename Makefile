# make help tells what there is. Everything happens in .venv; no root, but for the Debian packages of `make test`.
SHELL := /bin/bash
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
  $$each -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
BIN := .venv/bin
# command:package of what tests run: a load generator, and foreign processes that join a mesh
DEBIAN := wrk:wrk node:nodejs npm:npm nginx:nginx-light pg_lsclusters:postgresql ip:iproute2 tmux:tmux chromium:chromium \
  redis-cli:redis-tools prometheus:prometheus prometheus-alertmanager:prometheus-alertmanager \
  systemd-analyze:systemd curl:curl nsenter:util-linux zsh:zsh fish:fish
PARTS := checks cli control_plane dashboards deploy docs meshwright services sidecar tests tui bench

# Tests start hundreds of Python processes. Where an environment forbids bytecode, each would compile all that it imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo test test-long check check-types check-rules reference docs dist requirements bench clean

help:
	@echo "make install    a virtual environment in .venv with the mesh command"
	@echo "make demo       a mesh of real Envoys around a small shop, in the foreground"
	@echo "make test       every test that does not take minutes, with real Envoys and a real Valkey"
	@echo "make test-long  the rest: soak, chaos, large random cases"
	@echo "make check      lint, types, import contracts, house rules, generated files"
	@echo "make reference  write docs/reference.md and what shells complete from the code"
	@echo "make docs       the documentation as a site, in site/"
	@echo "make dist       the sdist and the wheel, in dist/"
	@echo "make requirements  write requirements/ from pyproject.toml and constraints.txt"
	@echo "make bench      figures, not a verdict; BENCH='--json FILE' writes them"
	@echo "make clean      remove .venv, caches and the demo's state"

install: .venv/.installed

# Packages are installed from wheels whose hashes are in requirements/, and never resolved again.
.venv/bin/uv: requirements/build.txt
	@$(or $(PYTHON),false) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer with venv (Debian: python3-venv) is needed$(PYTHON:%=, % is not): set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements/build.txt
	@touch $@

.venv/.installed: pyproject.toml requirements/mesh.txt .venv/bin/uv
	@echo "installing into .venv"
	@$(BIN)/uv pip install -q -p $(BIN)/python --require-hashes --no-deps -r requirements/mesh.txt
	@$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --no-index --no-build-isolation -e .
	@touch $@

.venv/.tests: requirements/test.txt .venv/.installed
	@echo "installing what tests need"
	@$(BIN)/uv pip install -q -p $(BIN)/python --require-hashes --no-deps -r requirements/test.txt
	@touch $@

# For every supported Python, on x86-64 and arm64 alike.
COMPILE := .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url -c constraints.txt

requirements:
	@$(COMPILE) requirements/build.in -o requirements/build.txt
	@$(COMPILE) pyproject.toml --extra jaeger --extra postgres --extra web -o requirements/mesh.txt
	@$(COMPILE) pyproject.toml --extra test -o requirements/test.txt

demo: install
	@$(BIN)/mesh demo $(ARGS)

.PHONY: debian
debian:
	@missing=; PATH="$$PATH:/usr/sbin:/sbin"; for each in $(DEBIAN); do \
	  command -v $${each%%:*} >/dev/null || missing="$$missing $${each##*:}"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as=sudo; else as=none; fi; \
	  if [ "$$as" = none ] || ! command -v apt-get >/dev/null; then \
	    echo "tests need the Debian packages$$missing: install them, then run this again" >&2; exit 1; fi; \
	  echo "installing$$missing"; \
	  { $$as apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as apt-get install -qq -y --no-install-recommends $$missing; } >/dev/null; \
	fi

test: .venv/.tests debian
	@$(BIN)/python -m tests.suite -m "not long" -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: DEBIAN += systemd-nspawn:systemd-container mmdebstrap:mmdebstrap runc:runc iptables:iptables \
  pebble:pebble certbot:certbot faketime:faketime
test-long: .venv/.tests debian
	@$(BIN)/python -m pytest -m long --timeout 3600 $(ARGS)

# Types take as long as all the rest, so both run at once.
check: .venv/.tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync check-types check-rules

check-types:
	$(BIN)/mypy

check-rules:
	$(BIN)/ruff check $(PARTS)
	$(BIN)/ruff format --check $(PARTS)
	$(BIN)/lint-imports
	$(BIN)/python -m meshwright.control_plane.cluster.generate --check
	$(BIN)/python -m meshwright.control_plane.envoy.generate --check
	$(BIN)/python -m meshwright.deploy.kubernetes.build --check
	$(BIN)/python -m meshwright.dashboards.build --check
	$(BIN)/python -m checks.reference --check
	$(BIN)/python -m checks

reference: .venv/.tests
	@$(BIN)/python -m checks.reference

docs: .venv/.tests
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q --strict

dist: .venv/.tests
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist >/dev/null
	@$(BIN)/twine check --strict dist/*

bench: .venv/.tests debian
	@$(BIN)/python -m bench $(BENCH)

clean:
	rm -rf .venv .mesh .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build site
