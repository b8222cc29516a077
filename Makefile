# Every target sets itself up in .venv first; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: demo test lint clean

demo: $(READY)  ## denoise the bundled example into demo-output
	$(RUN) -m CSRDDenoiseLib demo --output demo-output --overwrite

test: $(READY)  ## run every test
	$(RUN) -m pytest

lint: $(READY)
	$(RUN) -m ruff check .

$(READY): pyproject.toml constraints.txt .ci/install.py
	$(PYTHON) .ci/install.py $(VENV)
	touch $@

clean:
	rm -rf $(VENV) demo-output build dist
