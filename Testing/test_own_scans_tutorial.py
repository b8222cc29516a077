"""The tutorial of docs/own-scans.md as it is written: from a folder of DICOMs to an adapted model."""

from __future__ import annotations

import shlex

import pytest
from pair_folder import write_subject
from test_adapt import BANDED
from test_pairs import write_dicom
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.model.bundle import load_model

TABLE = """subject\tlow\tfull\tmr\tdose\tlabels
01\t01/pet_quarter\t01/pet_full\t01/t1.nii.gz\t1/4\t01/regions.nii.gz
02\t02/pet_quarter\t02/pet_full\t02/t1.nii.gz\t1/4\t02/regions.nii.gz
03\t03/pet_quarter\t03/pet_full\t03/t1.nii.gz\t1/4\t03/regions.nii.gz
"""


@pytest.mark.slow
def test_from_a_folder_of_dicoms_to_an_adapted_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("CSRDDenoiseLib.research.adaptation.fold.seconds_per_step", lambda *_: 10.0)
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path / "start", **BANDED)
    for number, name in enumerate(("01", "02", "03")):
        write_subject(tmp_path, name, number)
        for series, volume in (("pet_quarter", "low_dose_1_4"), ("pet_full", "full_dose")):
            write_dicom(tmp_path / name / series, tmp_path / name / f"{volume}.nii.gz")
    (tmp_path / "pairs.tsv").write_text(TABLE, encoding="utf-8")
    for command in (
        "inspect 01/pet_quarter",
        "pairs pairs.tsv",
        "validate pairs.tsv --output results --model start --filter Median --preset fast --device cpu",
        "adapt pairs.tsv --output models/ours --start start --minutes 3 --no-calibration --keep --device cpu",
        "denoise --pet 01/pet_quarter --mr 01/t1.nii.gz --output denoised.nii.gz --model models/ours --preset fast "
        "--device cpu",
        "validate pairs.tsv --output both --model start --model models/ours --filter Median --preset fast --device cpu",
    ):
        assert main(shlex.split(command)) == 0, f"{command}: {capsys.readouterr().err}"
    printed = capsys.readouterr().out
    assert "3 subject(s) measured" in printed
    assert load_model(tmp_path / "models" / "ours").metadata.training["adapted"]["subjects"] == 3
    assert (tmp_path / "both" / "report.html").is_file() and (tmp_path / "denoised.nii.gz").is_file()
