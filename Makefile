# Every target sets itself up in .venv first; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
EVALUATION := evaluation-output
WORKERS ?= 2
# the workers share the cores, so each takes one thread, and so does every process that it starts
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 \
	$(RUN) -m pytest --numprocesses $(WORKERS) --dist loadfile

.PHONY: demo test quick evaluate lint docs code-size reader-page clean

demo: $(READY)  ## denoise the bundled example into demo-output
	$(RUN) -m CSRDDenoiseLib demo --output demo-output --overwrite

test: $(READY)  ## run every test; slow ones come in many files, so files keep their order
	$(PYTEST) --no-loadscope-reorder

quick: $(READY)  ## run the tests that take little time: what one runs while coding
	$(PYTEST) -m "not slow and not timing"

evaluate: $(EVALUATION)/.subjects  ## seven experiments, small, into evaluation-output/results
	$(RUN) -m CSRDDenoiseLib evaluate configs/evaluate-small.yaml

# three subjects out of the label map of the bundled example, a head that no model of ours was trained on
$(EVALUATION)/.subjects: CSRDDenoise/Resources/SampleData/labels.nii.gz | $(READY)
	mkdir -p $(EVALUATION)/anatomy/synthseg
	cp $< $(EVALUATION)/anatomy/synthseg/example.nii.gz
	$(RUN) -m CSRDDenoiseLib simulate --anatomy $(EVALUATION)/anatomy --output $(EVALUATION)/subjects \
		--draws 3 --seed 5 --spacing 2 --doses 1/4,1/10 --noise-free
	touch $@

lint: $(READY)  ## style, format, types, names of Python 3.9 and the order of layers
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/vermin --quiet --target=3.9- --no-tips --violations CSRDDenoiseLib CSRDDenoise CSRDReaderStudy
	$(VENV)/bin/lint-imports --no-logo

docs: $(READY)  ## build the documentation site into site
	$(RUN) -m pip install -qq --constraint constraints.txt --editable '.[docs]'
	$(RUN) -m mkdocs build --strict

reader-page: CSRDDenoiseLib/readers/page/niivue-niivue-0.69.0.tgz  ## fetch the viewer of "csrd-denoise readers page"

CSRDDenoiseLib/readers/page/niivue-niivue-%.tgz:
	npm pack --silent --pack-destination $(@D) @niivue/niivue@$*

code-size: $(READY)  ## count files, lines, smoothing runs and functions of a volume; time "make quick"
	$(RUN) .ci/code_size.py --quick

$(READY): pyproject.toml constraints.txt .ci/install.py
	$(PYTHON) .ci/install.py $(VENV)
	touch $@

clean:
	rm -rf $(VENV) demo-output $(EVALUATION) build dist site
