# The one runner. Two commands matter on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
DEMO ?= demo
IMAGES ?= .cache/images
OLDER_HUB = .cache/hub-0.36

# What is typed below is then what a user types: `airgap`, not a path to it.
export PATH := $(abspath $(VENV))/bin:$(PATH)

# On all cores, a file at a time: what tests of one file share is made once.
PYTEST = python -m pytest --numprocesses auto --dist loadfile

PIP = python -m pip --disable-pip-version-check --quiet
# Every byte is pinned by hash; what is built (this project, one sdist) uses the locked setuptools.
INSTALL = $(PIP) install --require-hashes --no-build-isolation --use-pep517
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"
# torch, and what it brings along where it is built for CUDA: see requirements/torch.txt.
WITHOUT_TORCH = $(addprefix --no-emit-package ,torch triton cuda-toolkit nvidia-cublas \
	nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft \
	nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 \
	nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx)

.PHONY: help demo test test-speakers speakers test-large large test-images check fix bench docs lock clean

help:
	@echo "make demo    build, sign, verify, mount and transcribe, with the network gone"
	@echo "make test    the test suite, but for NeMo, pyannote and emotion"
	@echo "make test-speakers  those, in an environment of 2.7 GB"
	@echo "make test-images    Dockerfile.cpu by buildah, as root; fetches 0.3 GB into .cache/images"
	@echo "make test-large  a bootstrap with NeMo and pyannote: ten gigabytes of disk, some minutes"
	@echo "make check   lint, format, types, who may import whom"
	@echo "make fix     what the linter and the formatter can mend"
	@echo "make bench   speed against named tools"
	@echo "make docs    links, commands and printed output in the documentation"
	@echo "make lock    requirements/*.txt from pyproject.toml; UPGRADE=--upgrade for newer versions"
	@echo "make clean   remove what the others made here; the download cache stays"

demo: $(VENV)/installed-ship
	@sh deploy/demo.sh $(DEMO)

# The suite reaches no network: what it needs is fetched first.
test: $(VENV)/installed-dev $(OLDER_HUB)
	airgap fetch demo
	airgap fetch tests/data/profiles/base.yaml
	$(PYTEST) -m "not heavy and not speakers"
	$(PYTEST) -m "heavy and not speakers and not images"

# The older client of the hub that other programs may have: tests put it before today's.
$(OLDER_HUB): requirements/hub-0.36.txt | $(VENV)/installed-dev
	rm -rf $@ $@.part
	$(PIP) install --require-hashes --no-deps --target $@.part --requirement $<
	mv $@.part $@

# As root: the image is built on a tree of Debian's, by its name, and run in an empty network.
test-images: $(VENV)/installed-dev $(IMAGES)/base.tar $(IMAGES)/wheels
	airgap fetch demo
	AIRGAP_IMAGES=$(abspath $(IMAGES)) python -m pytest -m images

$(IMAGES)/base.tar:
	mkdir -p $(IMAGES)
	debootstrap --variant=minbase --include=ca-certificates,python3,python3-pip,python3-venv \
		bookworm $(IMAGES)/base
	tar -C $(IMAGES)/base --exclude='./dev/*' --exclude='./proc/*' -cf $@.part .
	rm -rf $(IMAGES)/base
	mv $@.part $@

$(IMAGES)/wheels: requirements/build.txt requirements/cpu.txt
	rm -rf $@
	$(PIP) download --require-hashes --no-deps --only-binary :all: --python-version 3.11 \
		--dest $@.part --requirement requirements/build.txt --requirement requirements/cpu.txt
	mv $@.part $@

# torch, NeMo and pyannote want an environment of their own.
test-speakers:
	$(MAKE) VENV=$(VENV)-speakers speakers

test-large:
	$(MAKE) VENV=$(VENV)-speakers large

speakers: $(VENV)/installed-speakers
	airgap fetch demo
	airgap fetch tests/data/profiles/voices.yaml
	AIRGAP_SPEAKERS=1 $(PYTEST) -m "speakers and not large"

large: $(VENV)/installed-speakers
	airgap fetch demo
	airgap fetch tests/data/profiles/voices.yaml
	AIRGAP_SPEAKERS=1 $(PYTEST) -m large

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
	echo 'huggingface_hub==0.36.*' | $(COMPILE) $(UPGRADE) --output-file requirements/hub-0.36.txt -
	$(COMPILE) --constraint requirements/dev.txt --extra bundler --extra cpu \
		--extra s3 --extra server --output-file requirements/ship.txt pyproject.toml
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/base.txt pyproject.toml
	$(COMPILE) $(UPGRADE) --constraint requirements/torch.txt $(WITHOUT_TORCH) \
		--extra dev --extra speakers --output-file requirements/speakers.txt pyproject.toml
	$(COMPILE) --constraint requirements/dev.txt --extra cpu --extra server --extra site \
		--output-file requirements/cpu.txt pyproject.toml
	$(COMPILE) --constraint requirements/torch.txt --constraint requirements/speakers.txt \
		--extra gpu --extra server --extra site --extra speakers \
		--output-file requirements/gpu.txt pyproject.toml

clean:
	rm -rf $(VENV) $(VENV)-speakers $(DEMO) build dist *.egg-info .hypothesis .*_cache
	find . -name __pycache__ -prune -exec rm -r {} +

$(VENV)/installed-speakers: requirements/build.txt requirements/torch.txt \
		requirements/speakers.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements/speakers.txt into $(VENV): 2.7 GB, some minutes"
	@$(PIP) install --requirement requirements/torch.txt
	@$(INSTALL) --requirement requirements/build.txt
	@$(INSTALL) --no-deps --requirement requirements/speakers.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@python -m runtime.torchaudio_cpu
	@touch $@

$(VENV)/installed-%: requirements/build.txt requirements/%.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements/$*.txt into $(VENV)"
	@$(INSTALL) --requirement requirements/build.txt
	@$(INSTALL) --requirement requirements/$*.txt
	$(if $(filter dev,$*),@$(INSTALL) --no-deps --requirement requirements/kserve.txt)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/bin/python:
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 11) and \
		f'Python 3.11 or newer is needed, this is {sys.version}: make PYTHON=/path/to/python3.11')"
	"$(PYTHON)" -m venv $(VENV)
