# Every target sets itself up in .venv first; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
EVALUATION := evaluation-output

.PHONY: demo test evaluate lint clean

demo: $(READY)  ## denoise the bundled example into demo-output
	$(RUN) -m CSRDDenoiseLib demo --output demo-output --overwrite

test: $(READY)  ## run every test
	$(RUN) -m pytest

evaluate: $(EVALUATION)/.subjects  ## every experiment, small, into evaluation-output/results
	$(RUN) -m CSRDDenoiseLib evaluate configs/evaluate-small.yaml

# three subjects out of the label map of the bundled example, a head that no model of ours was trained on
$(EVALUATION)/.subjects: CSRDDenoise/Resources/SampleData/labels.nii.gz | $(READY)
	mkdir -p $(EVALUATION)/anatomy/synthseg
	cp $< $(EVALUATION)/anatomy/synthseg/example.nii.gz
	$(RUN) -m CSRDDenoiseLib simulate --anatomy $(EVALUATION)/anatomy --output $(EVALUATION)/subjects \
		--draws 3 --seed 5 --spacing 2 --doses 1/4,1/10 --noise-free
	touch $@

lint: $(READY)
	$(RUN) -m ruff check .

$(READY): pyproject.toml constraints.txt .ci/install.py
	$(PYTHON) .ci/install.py $(VENV)
	touch $@

clean:
	rm -rf $(VENV) demo-output $(EVALUATION) build dist
