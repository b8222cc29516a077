"""BIDS: PET and T1w are found, derivatives carry the raw metadata, and their names are those of the schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import head_array

from CSRDDenoiseLib.bids import derivatives_of, find_pets
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError

RAW = {"Units": "Bq/mL", "TracerName": "FDG", "FrameTimesStart": [0], "FrameDuration": [600]}


def write_pet(path: Path, frames: int = 1) -> None:
    """A PET with its sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.stack([head_array(seed=index).T for index in range(frames)], -1)
    nibabel.save(nibabel.Nifti1Image(values if frames > 1 else values[..., 0], np.diag([-2.0, -2.0, 2.0, 1.0])), path)
    times = {"FrameTimesStart": [60 * index for index in range(frames)], "FrameDuration": [60] * frames}
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(
        json.dumps(RAW if frames == 1 else {**RAW, **times})
    )


@pytest.fixture
def dataset(tmp_path, mr) -> Path:
    root = tmp_path / "data set"
    write_pet(root / "sub-01/pet/sub-01_trc-FDG_pet.nii.gz")
    write_pet(root / "sub-02/ses-b/pet/sub-02_ses-b_pet.nii.gz", frames=2)
    for place in ("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz"):
        (root / place).parent.mkdir(parents=True)
        sitk.WriteImage(mr, str(root / place))
    (root / "dataset_description.json").write_text(json.dumps({"Name": "Raw", "BIDSVersion": "1.8.0"}))
    return root


def test_pets_are_found_with_the_t1w_of_their_session_first(dataset):
    first, second = find_pets(dataset)
    assert first.mr.name == "sub-01_T1w.nii.gz" and second.mr.name == "sub-02_ses-a_T1w.nii.gz"
    nearer = dataset / "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii"
    nearer.parent.mkdir()
    nearer.touch()
    assert find_pets(dataset, ["sub-02"])[0].mr == nearer
    for labels, words in ((["7"], "no sub-7"), ([], "no PET")):
        root = dataset if labels else dataset / "sub-01"
        with pytest.raises(InputError, match=words):
            find_pets(root, labels)


@pytest.mark.slow
def test_derivatives_of_a_dataset(dataset, model_folder, capsys):
    schema = pytest.importorskip("bidsschematools.schema", reason="names are checked against the BIDS schema")
    from bidsschematools.rules import regexify_filename_rules

    command = ["denoise", "--bids", str(dataset), "--model", str(model_folder), "--device", "cpu"]
    command += ["--sampler", "dpmpp", "--steps", "2", "--samples", "2"]
    raw = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    assert main(command) == 0, capsys.readouterr().err
    assert all(path.read_bytes() == before for path, before in raw.items())
    folder = derivatives_of(dataset)
    entries = json.loads((folder / "sub-01/pet/sub-01_trc-FDG_desc-denoised_pet.json").read_text())
    assert entries.items() >= RAW.items() and entries["CSRDDenoise"]["Model"] == "tiny"
    assert entries["Sources"] == [
        "bids:raw:sub-01/pet/sub-01_trc-FDG_pet.nii.gz",
        "bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
    ]
    dynamic = folder / "sub-02/ses-b/pet/sub-02_ses-b_desc-denoised_pet.nii.gz"
    assert nibabel.load(dynamic).shape[3] == 2
    assert json.loads(dynamic.with_name(dynamic.name.replace(".nii.gz", ".json")).read_text())["FrameDuration"] == [
        60,
        60,
    ]
    described = json.loads((folder / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "csrd-denoise"
    known = schema.load_schema()
    rules = regexify_filename_rules(known.rules.files.deriv, known, level=2)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("sub-*") if path.is_file()]
    names = [name for name in names if not name.endswith("_provenance.json")]
    assert len(names) == 12
    for name in names:
        assert any(re.match(rule["regex"], name) for rule in rules), name
    assert main(command) == 2 and "exists already" in capsys.readouterr().err


def test_a_pet_that_cannot_be_denoised_does_not_stop_the_others(dataset, model_folder, capsys):
    broken = dataset / "sub-01/pet/sub-01_trc-FDG_pet.nii.gz"
    broken.write_bytes(b"no image")
    command = ["denoise", "--bids", str(dataset), "--model", str(model_folder), "--device", "cpu", "--sampler", "mean"]
    assert main([*command, "--participant-label", "01", "02"]) == 2
    assert "sub-01_trc-FDG_pet.nii.gz" in capsys.readouterr().err
    assert not list(derivatives_of(dataset).rglob("sub-01*desc*"))
    assert (derivatives_of(dataset) / "sub-02/ses-b/pet/sub-02_ses-b_desc-difference_pet.nii.gz").is_file()


def test_options_of_a_single_pet_are_refused(dataset, capsys):
    assert main(["denoise", "--bids", str(dataset), "--output", "a.nii"]) == 2
    assert "--output" in capsys.readouterr().err
