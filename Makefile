# make demo | test | plugin | lint | clean | help. Works with GNU make 3.81 and later (macOS has 3.81).
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first suitable Python, or python3, about which the check below then says what is missing.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; exit; }; done; echo python3)
# cpu: the build named in constraints.txt; anything else: whatever pip finds, in a venv of its own.
TORCH ?= cpu

ifeq ($(TORCH),cpu)
VENV := .venv
CONSTRAINT := -c constraints.txt
else
VENV := .venv-$(TORCH)
CONSTRAINT :=
endif

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SETTINGS := setup.cfg pyproject.toml constraints.txt

# These, set for another installation, break the Python and the GDAL of the venv.
unexport PYTHONHOME PYTHONPATH PYTHONEXECUTABLE PROJ_LIB PROJ_DATA GDAL_DATA GDAL_DRIVER_PATH

# Where the QGIS plugin's source will lie and who answers for it: for its repository only.
REPOSITORY ?=
EMAIL ?=
SCAN := .venv-scan

.PHONY: help demo figure test test-qgis plugin lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    fuse a real scene: tables, figure and GeoTIFF in demo-output/"
	@echo "make test    run the tests, those of the QGIS plugin too where QGIS is or can be installed"
	@echo "make plugin  build the QGIS plugin's zip in dist/ and check it"
	@echo "make lint    check style"
	@echo "make figure  run the demo and renew the figure of the README"
	@echo "make clean   remove the virtual environments and caches"
	@echo "Options: PYTHON=python3.12 chooses the Python; TORCH=cuda installs PyTorch for a GPU."

demo: $(VENV)/.demo
	$(BIN)/emrdiff demo --out demo-output

# The README's figure: that of the demo in 256 colours, which makes it small.
figure: demo
	$(BIN)/python -c "from PIL import Image; Image.open('demo-output/comparison.png')\
.convert('RGB').quantize(256).save('docs/figure.png', optimize=True)"

# One thread a library: the scenes of the tests are tiny.
test: $(VENV)/.test test-qgis
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q

# In QGIS' own Python, with the engine as a process; QGIS=no leaves it out.
test-qgis: $(VENV)/.test
	tests/qgis/run $(BIN)/python

# The scans are those of the QGIS plugin repository.
plugin: $(SCAN)/.done
	$(SCAN)/bin/python qgis_plugin/package.py --out dist --repository "$(REPOSITORY)" --email "$(EMAIL)"
	$(SCAN)/bin/bandit -q -r qgis_plugin/emrdiff_qgis
	find qgis_plugin/emrdiff_qgis -type f ! -name '*.pyc' -exec $(SCAN)/bin/detect-secrets-hook {} +

$(SCAN)/.done: | $(BIN)/python
	@$(BIN)/python -m venv $(SCAN)
	@$(SCAN)/bin/python -m pip install -qq --disable-pip-version-check bandit detect-secrets
	@touch $@

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/.demo $(VENV)/.test: $(VENV)/.torch
	@echo "Installing emrdiff-geo and what it needs into $(VENV) ..."
	@$(PIP) install -qq $(CONSTRAINT) --editable ".[$(patsubst .%,%,$(notdir $@))]"
	@touch $@

# PyTorch comes first and alone, so that a failure can be explained.
$(VENV)/.torch: $(SETTINGS) | $(BIN)/python
	@echo "Installing PyTorch ($(TORCH)), the largest part ..."
	@$(PIP) install -qq $(CONSTRAINT) torch || { echo; \
	echo "The $(TORCH) build of PyTorch could not be installed: if pip says above that it knows no such\
 version, set PIP_EXTRA_INDEX_URL to the address of PyTorch's CPU wheel index (on pytorch.org\
 under 'Get started') and run make again, or, for an NVIDIA GPU, run make with TORCH=cuda."; \
	exit 1; } >&2
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.11, 3.12\
 or 3.13, or name it, as in 'make demo PYTHON=/path/to/python3.12'." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	echo "$(PYTHON) is $$($(PYTHON) --version), and Python 3.11, 3.12 or 3.13 is needed: name one,\
 as in 'make demo PYTHON=python3.12'." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual\
 environments: install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .ruff_cache qgis_plugin/.ruff_cache .mypy_cache .hypothesis
	find emrdiff_geo examples qgis_plugin tests -name __pycache__ -type d -prune -exec rm -rf {} +
