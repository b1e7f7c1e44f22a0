# The one runner. Two commands matter on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
DEMO ?= demo

# What is typed below is then what a user types: `airgap`, not a path to it.
export PATH := $(abspath $(VENV))/bin:$(PATH)

PIP = python -m pip --disable-pip-version-check --quiet
# Every byte is pinned by hash; what is built (this project, one sdist) uses the locked setuptools.
INSTALL = $(PIP) install --require-hashes --no-build-isolation --use-pep517
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

.PHONY: help demo test check fix bench docs lock clean

help:
	@echo "make demo    build, sign, verify, mount and transcribe, with the network gone"
	@echo "make test    the whole test suite"
	@echo "make check   lint, format, types, who may import whom"
	@echo "make fix     what the linter and the formatter can mend"
	@echo "make bench   speed against named tools"
	@echo "make docs    links, commands and printed output in the documentation"
	@echo "make lock    requirements/*.txt from pyproject.toml; UPGRADE=--upgrade for newer versions"
	@echo "make clean   remove what the others made here; the download cache stays"

demo: $(VENV)/installed-ship
	@sh deploy/demo.sh $(DEMO)

# The suite reaches no network: what it needs is fetched first.
test: $(VENV)/installed-dev
	airgap fetch demo
	airgap fetch tests/data/profiles/base.yaml
	python -m pytest -m "not heavy"
	python -m pytest -m heavy

check: $(VENV)/installed-dev
	ruff check
	ruff format --check
	mypy
	lint-imports

fix: $(VENV)/installed-dev
	ruff check --fix
	ruff format

bench: $(VENV)/installed-ship
	python benchmarks/run.py

docs: $(VENV)/installed-dev
	airgap fetch demo
	python -m pytest tests/test_documentation.py

lock: $(VENV)/installed-dev
	python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" \
		| $(COMPILE) $(UPGRADE) --output-file requirements/build.txt -
	$(COMPILE) $(UPGRADE) --extra dev --output-file requirements/dev.txt pyproject.toml
	$(COMPILE) --constraint requirements/dev.txt --extra bundler --extra cpu \
		--extra s3 --extra server --output-file requirements/ship.txt pyproject.toml
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/base.txt pyproject.toml

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .hypothesis .*_cache
	find . -name __pycache__ -prune -exec rm -r {} +

$(VENV)/installed-%: requirements/build.txt requirements/%.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements/$*.txt into $(VENV)"
	@$(INSTALL) --requirement requirements/build.txt
	@$(INSTALL) --requirement requirements/$*.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/bin/python:
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 11) and \
		f'Python 3.11 or newer is needed, this is {sys.version}: make PYTHON=/path/to/python3.11')"
	"$(PYTHON)" -m venv $(VENV)
