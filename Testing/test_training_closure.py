"""A training, from simulated heads to scores and a model, on a machine with few libraries (a rented GPU)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_anatomies

ROOT = Path(__file__).resolve().parent.parent
MISSING = ("SimpleITK", "pydicom", "monai", "skimage", "requests", "PIL", "dask", "distributed", "vtk", "matplotlib")
MODULES = (
    "commands.train",
    "commands.experiment",
    "research.adaptation.training_pairs",
    "research.training.loop",
    "research.training.export",
    "research.training.scoring",
    "research.evidence.head_to_head",
    "research.evidence.left_out",
    "research.evidence.scaling",
    "research.evidence.short_runs",
)
WITHOUT = f"""
import importlib, importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {MISSING!r}:
            raise ModuleNotFoundError(f"{{name}} is not on this machine")

sys.meta_path.insert(0, Missing())
"""
SCORE = """
from pathlib import Path
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.configuration import read_placed
from CSRDDenoiseLib.research.evidence.head_to_head import HeadToHead, run_head_to_head

assert main(["train", "train.yaml"]) == 0
results = run_head_to_head(read_placed(Path("head-to-head.yaml"), HeadToHead), 0.005)
assert len(results["tiny"]["rows"]) == 1
"""
TRAINING = """
name: tiny
anatomy: anatomy
output: run
data: data
normalisation: noise-bands
target: noise-free
scanners: usual
architecture: {type: ResidualUNet3d, widths: [8, 8], blocks: [1, 1], embedding: 16, in_channels: 12}
doses: [1/4]
unseen_doses: []
subjects: [0.34, 0.33, 0.33]
regression_share: 1.0
model_spacing: 6.0
patch: 8
batch: 1
steps: 2
pool_size: 1
pool_start: 1
validation_phantoms: 0
simulators: 0
"""


def run_without(code: str, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", WITHOUT + code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")


def test_what_trains_and_scores_is_imported_without_the_libraries_that_read_scans(tmp_path):
    # the last one needs SimpleITK, which shows that it is missing here
    code = f"for name in {(*MODULES, 'denoise')!r}: importlib.import_module('CSRDDenoiseLib.' + name); print(name)"
    result = run_without(code, tmp_path)
    assert result.stdout.split() == list(MODULES), result.stderr
    assert "SimpleITK is not on this machine" in result.stderr


@pytest.mark.slow
def test_a_model_is_trained_and_scored_without_them(tmp_path):
    write_anatomies(tmp_path / "anatomy", 3)
    (tmp_path / "train.yaml").write_text(TRAINING, encoding="utf-8")
    compared = {"training": "train.yaml", "output": "out", "networks": {"tiny": {}}, "phantoms": [0], "timed_steps": 2}
    (tmp_path / "head-to-head.yaml").write_text(json.dumps(compared), encoding="utf-8")
    result = run_without(SCORE, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "run" / "model" / "metadata.json").is_file()
    assert np.isfinite(json.loads((tmp_path / "out" / "results.json").read_text())["tiny"]["rows"][0]["psnr_clean"])
