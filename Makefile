# Two commands are all a fresh machine needs: `make demo` and `make test`. Each does its own set-up.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO_FLAGS ?=

.PHONY: demo test test-slow test-pythons coverage postgres test-ray test-slurm lint site reference install lock browser shots \
  clean-demo

demo: $(VENV)/.installed
	$(BIN)/eavdash demo $(DEMO_FLAGS)

# In two processes; what a browser sees has the machine to itself.
test: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not browser and not ray and not slurm"
	$(BIN)/python -m pytest -m "browser and not slow"

# Simulations, fuzzing, and the first hour in a browser: minutes each.
test-slow: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not browser"
	$(BIN)/python -m pytest -m "slow and browser"

# The share of the lines of eavdash/ that `make test` runs in its own processes; those of workers are not counted.
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --cov=eavdash --cov-report=term:skip-covered -m "not slow and not browser and not ray and not slurm"

# A part of the tests with each other Python that this machine has, in environments of their own (about 7 GB each).
test-pythons:
	$(PYTHON) tests/other_pythons.py

# A Postgres for the tests of several machines with one queue; without one they are skipped.
postgres:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null; }

# On a Ray of two nodes, started for the tests and ended after them.
test-ray: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m ray tests/jobs

# On a SLURM of one node, made for the tests of the system's packages and taken down after them.
test-slurm: $(VENV)/.installed-dev
	@$(BIN)/python tests/jobs/slurm_cluster.py || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null; } || \
	  { echo "SLURM's packages can only be installed by root with apt-get: install slurm-wlm and munge"; exit 1; }
	$(BIN)/python -m pytest -m slurm tests/jobs

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documents as a site, into build/site; a wrong link fails it, and nothing is loaded from the network.
site: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The pages of docs/ that are made from the code.
reference: $(VENV)/.installed
	$(BIN)/python -m eavdash.cli.reference > docs/commands.md
	$(BIN)/python -m eavdash.store.reference > docs/files.md
	$(BIN)/python -m eavdash.config.reference > docs/settings.md
	$(BIN)/python -m eavdash.models.reference

install: $(VENV)/.installed

# The marks are made last, so that an interrupted installation is taken up again.
$(VENV)/.installed: requirements.lock requirements-voice.txt pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "eavdash needs Python 3.11 or newer"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (torch and its libraries are about 5 GB; this takes some minutes) ..."
	$(PIP) install -q --require-hashes -r requirements.lock
	$(PIP) install -q --require-hashes --no-deps -r requirements-voice.txt
	$(PIP) install -q --no-deps -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(PIP) install -q --require-hashes -r requirements-dev.lock
	touch $@

# A Chromium that is already there is used; otherwise the system's package, otherwise Playwright's own.
browser: $(VENV)/.installed-dev
	@$(BIN)/python tests/helpers/browser.py || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || \
	  $(BIN)/python -m playwright install chromium || \
	  echo "no Chromium could be installed: the browser tests will be skipped"

# Pictures of all pages and states of the studies in CHECKPOINTS, wide and narrow, light and dark, to look at.
CHECKPOINTS ?= checkpoints
SHOTS ?= build/shots
shots: $(VENV)/.installed-dev browser
	PYTHONPATH=. $(BIN)/python tests/helpers/shots.py $(CHECKPOINTS) $(SHOTS)

# The exact releases that `make demo` and `make test` install, with checksums; they name no index. At the end the same
# releases are resolved for newer versions of Python, which fails if one of them has no wheel there.
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-emit-find-links --custom-compile-command "make lock"
lock: $(VENV)/.installed
	$(PIP) install -q uv
	$(COMPILE) requirements.txt -o requirements.lock
	$(COMPILE) requirements-dev.txt -c requirements.lock -o requirements-dev.lock
	for python in 3.12 3.13; do \
	  $(BIN)/uv pip compile -q --universal --python-version $$python --only-binary :all: --no-binary baycomp --no-header \
	    requirements-dev.txt -c requirements-dev.lock -o /dev/null || exit 1; done

clean-demo:
	rm -rf demo-data checkpoints/demo
