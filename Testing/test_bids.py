"""BIDS: PET and T1w are found, sidecars are inherited, derivatives carry the raw metadata, and the validator agrees."""

from __future__ import annotations

import errno
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from bids_dataset import INJECTION, SHARED, write_dataset, write_json, write_pet

from CSRDDenoiseLib.bids import derivatives_of, describe_derivatives, find_pets
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.read import read
from CSRDDenoiseLib.io.sidecar import read_sidecar
from CSRDDenoiseLib.io.suv import volume_suv

FIRST, SECOND = (f"sub-01/pet/sub-01_trc-FDG_run-{run}_pet" for run in (1, 2))
STATIC, DYNAMIC = "sub-02/ses-a/pet/sub-02_ses-a_trc-FDG_rec-acdyn_pet", "sub-02/ses-b/pet/sub-02_ses-b_trc-FDG_pet"


@pytest.fixture
def dataset(tmp_path, mr) -> Path:
    return write_dataset(tmp_path / "data set", mr)


def sidecar(root: Path, name: str, output: str = "denoised") -> dict[str, Any]:
    """The sidecar of an output."""
    path = derivatives_of(root) / f"{name[:-4]}_desc-{output}_pet.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_pets_are_found_with_the_t1w_of_their_session_first(dataset):
    pets = find_pets(dataset)
    assert [pet.pet.relative_to(dataset).as_posix()[:-7] for pet in pets] == [FIRST, SECOND, STATIC, DYNAMIC]
    assert [pet.mr.name for pet in pets] == ["sub-01_T1w.nii.gz"] * 2 + ["sub-02_ses-b_T1w.nii.gz"] * 2
    nearer = dataset / "sub-02/ses-a/anat/sub-02_ses-a_T1w.nii"
    nearer.parent.mkdir()
    nearer.touch()
    assert find_pets(dataset, ["sub-02"])[0].mr == nearer
    for labels, words in ((["7"], "no sub-7"), ([], "no PET")):
        root = dataset if labels else dataset / "sub-01"
        with pytest.raises(InputError, match=words):
            find_pets(root, labels)


def test_a_pet_that_is_there_twice_is_refused(dataset):
    (dataset / f"{FIRST}.nii").write_bytes(gzip.decompress((dataset / f"{FIRST}.nii.gz").read_bytes()))
    with pytest.raises(InputError, match="one PET by their names"):
        find_pets(dataset)
    assert len(find_pets(dataset, ["02"])) == 2


def test_sidecars_higher_up_are_inherited(dataset):
    path = dataset / f"{DYNAMIC}.nii.gz"
    volume = read(path, "PET", 1)
    assert volume.unit == "Bq/mL" and volume.header.frames[2].start_s == 120
    assert volume_suv(volume).factor == pytest.approx(70 * 1000 / 368.08e6)
    # what lies nearer wins, entry by entry; another session's, tracer's or suffix's does not apply
    write_json(dataset / "sub-02/ses-b/sub-02_ses-b_pet.json", {"Units": "kBq/mL"})
    for other in ("sub-02/ses-b/sub-02_ses-a_pet.json", "trc-PIB_pet.json", "T1w.json", "sub-02/ses-b/pet/pet.jsn"):
        write_json(dataset / other, {"Units": "counts"})
    assert read(path, "PET", 0).unit == "kBq/mL"
    entries, findings = read_sidecar(path, "PET")
    assert entries.items() >= {**SHARED, **INJECTION, "Units": "kBq/mL", "FrameDuration": [60] * 3}.items()
    assert not findings


def test_a_damaged_sidecar_higher_up_is_reported_and_the_others_hold(dataset):
    (dataset / "pet.json").write_text("{")
    entries, findings = read_sidecar(dataset / f"{DYNAMIC}.nii.gz", "PET")
    assert [finding.values["file"] for finding in findings] == ["pet.json"] and entries["BodyWeight"] == 70


def test_outside_of_a_dataset_only_the_own_sidecar_is_read(tmp_path):
    write_json(tmp_path / "pet.json", SHARED)
    path = write_pet(tmp_path / "sub-01_pet.nii.gz")
    assert set(read_sidecar(path, "PET")[0]) == {"FrameTimesStart", "FrameDuration"}


@pytest.mark.slow
def test_derivatives_of_a_dataset(dataset, model_folder, capsys):
    command = ["denoise", "--bids", str(dataset), "--model", str(model_folder), "--device", "cpu", "--frames", "2-"]
    command += ["--sampler", "dpmpp", "--steps", "2", "--samples", "2"]
    raw = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    assert main(command) == 0, capsys.readouterr().err
    assert all(path.read_bytes() == before for path, before in raw.items())
    folder = derivatives_of(dataset)
    for name, times in ((SECOND, 1), (DYNAMIC, 3)):
        entries = sidecar(dataset, name, "difference")
        assert entries.items() >= {**SHARED, **INJECTION, "FrameDuration": [60] * times, "SkullStripped": False}.items()
        assert entries["CSRDDenoise"]["Model"] == "tiny" and "difference" in entries["Description"]
    assert sidecar(dataset, FIRST)["Sources"] == [f"bids:raw:{FIRST}.nii.gz", "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]
    # a static PET has no frames to choose from
    assert sidecar(dataset, DYNAMIC)["CSRDDenoise"]["FramesDenoised"] == [2, 3]
    assert (folder / f"{FIRST[:-4]}_desc-uncertainty_pet.nii.gz").is_file()
    before = np.asanyarray(nibabel.load(dataset / f"{DYNAMIC}.nii.gz").dataobj)
    after = np.asanyarray(nibabel.load(folder / f"{DYNAMIC[:-4]}_desc-denoised_pet.nii.gz").dataobj)
    assert [np.array_equal(before[..., n], after[..., n]) for n in range(3)] == [True, False, False]
    described = json.loads((folder / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "csrd-denoise"
    assert not errors_of_validator(dataset) and not errors_of_validator(folder)
    check_names(folder)
    assert main(command) == 4 and "exists already" in capsys.readouterr().err


def errors_of_validator(root: Path) -> list[str]:
    """What the schema validator of BIDS (bids-validator-deno of PyPI, Python 3.10 and later) calls an error."""
    pytest.importorskip("bids_validator_deno", reason="derivatives are checked by the validator of BIDS")
    command = [sys.executable, "-c", "from bids_validator_deno import cli; cli()", str(root), "--format", "json"]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    issues = json.loads(run.stdout)["issues"]["issues"]
    assert issues, "a dataset without authors has at least one warning"
    return [f"{each['code']} {each['location']}" for each in issues if each["severity"] == "error"]


def test_the_validator_finds_what_is_wrong(dataset):
    (dataset / "sub-01/pet/sub-01_odd.txt").write_text("x")
    assert [error.split()[0] for error in errors_of_validator(dataset)] == ["NOT_INCLUDED"]


def check_names(folder: Path) -> None:
    """Check the names against the schema, which is at hand where the validator's binary is not."""
    schema = pytest.importorskip("bidsschematools.schema", reason="names are checked against the BIDS schema")
    from bidsschematools.rules import regexify_filename_rules

    known = schema.load_schema()
    rules = regexify_filename_rules(known.rules.files.deriv, known, level=2)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("sub-*") if path.is_file()]
    names = [name for name in names if not name.endswith("_provenance.json")]
    assert len(names) == 24
    for name in names:
        assert any(re.match(rule["regex"], name) for rule in rules), name


def test_a_pet_that_cannot_be_denoised_does_not_stop_the_others(dataset, model_folder, capsys):
    (dataset / f"{FIRST}.nii.gz").write_bytes(b"no image")
    command = ["denoise", "--bids", str(dataset), "--model", str(model_folder), "--device", "cpu", "--sampler", "mean"]
    assert main([*command, "--participant-label", "01"]) == 4
    assert Path(FIRST).name in capsys.readouterr().err
    assert not list(derivatives_of(dataset).rglob("*run-1*desc*"))
    assert (derivatives_of(dataset) / f"{SECOND[:-4]}_desc-difference_pet.nii.gz").is_file()


def test_a_full_disk_at_the_sidecars_leaves_no_image(dataset, model_folder, monkeypatch, capsys):
    def full(_entries, _path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("CSRDDenoiseLib.denoise.write_sidecar", full)
    command = ["denoise", "--bids", str(dataset), "--model", str(model_folder), "--device", "cpu", "--sampler", "mean"]
    assert main([*command, "--participant-label", "01", "--precision", "float32"]) == 4
    assert "No space left" in capsys.readouterr().err
    assert not list(derivatives_of(dataset).rglob("sub-*_pet*"))


def test_maps_of_a_former_run_go_with_it(dataset, model_folder, capsys):
    command = ["denoise", "--bids", str(dataset), "--model", str(model_folder), "--device", "cpu"]
    command += ["--participant-label", "01", "--precision", "float32"]
    former = derivatives_of(dataset) / f"{FIRST[:-4]}_desc-uncertainty_pet.nii.gz"
    assert main([*command, "--steps", "2", "--samples", "2"]) == 0, capsys.readouterr().err
    assert former.is_file()
    assert main([*command, "--sampler", "mean"]) == 4 and former.is_file()
    assert main([*command, "--sampler", "mean", "--overwrite"]) == 0, capsys.readouterr().err
    found = {path.name.partition("_desc-")[2] for path in former.parent.glob("*run-1*")}
    images = {f"{name}_pet{ending}" for name in ("denoised", "difference") for ending in (".json", ".nii.gz")}
    assert found == images | {"denoised_pet_provenance.json"}


def test_files_that_macos_writes_beside_others_are_no_images(dataset):
    found = find_pets(dataset)
    for path in [*dataset.rglob("*.nii.gz"), *dataset.rglob("*.json")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(80))
    assert find_pets(dataset) == found and len(found) == 4


def test_a_folder_that_cannot_be_made_is_an_error_of_its_pet_or_of_the_run(dataset, model_folder, capsys):
    command = ["denoise", "--bids", str(dataset), "--model", str(model_folder), "--device", "cpu", "--sampler", "mean"]
    command += ["--precision", "float32"]
    (dataset / "derivatives").write_text("a file", encoding="utf-8")
    assert main(command) == 2
    (dataset / "derivatives").unlink()
    derivatives_of(dataset).mkdir(parents=True)
    (derivatives_of(dataset) / "sub-01").write_text("a file", encoding="utf-8")
    assert main([*command, "--frames", "1"]) == 4, capsys.readouterr().err
    assert len(list(derivatives_of(dataset).rglob("*desc-denoised_pet.nii.gz"))) == 2


def test_options_of_a_single_pet_are_refused(dataset, capsys):
    assert main(["denoise", "--bids", str(dataset), "--output", "a.nii"]) == 2
    assert "--output" in capsys.readouterr().err


def test_the_description_of_another_dataset_stays(tmp_path):
    raw, own = tmp_path / "raw", tmp_path / "own"
    raw.mkdir()
    texts = {"dataset_description.json": json.dumps({"Name": "Precious", "Authors": ["A"]}), "README.md": "notes"}
    for name, text in texts.items():
        (raw / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="another dataset"):
        describe_derivatives(raw, raw)
    assert {path.name: path.read_text(encoding="utf-8") for path in raw.iterdir()} == texts
    describe_derivatives(raw, own)
    (own / "README.md").write_text("added by hand", encoding="utf-8")
    describe_derivatives(raw, own)
    assert (own / "README.md").read_text(encoding="utf-8") == "added by hand"
    assert "Precious" in (own / "dataset_description.json").read_text(encoding="utf-8")


def test_results_never_go_among_the_raw_images(dataset, model_folder, capsys):
    (dataset / "dataset_description.json").unlink()
    before = sorted(dataset.rglob("*"))
    words = ["cohort", "--bids", dataset, "--output", dataset / "sub-01" / "..", "--model", model_folder]
    assert main([str(word) for word in words]) == 2
    assert "dataset itself" in capsys.readouterr().err and sorted(dataset.rglob("*")) == before


def test_participants_are_named_only_where_some_were_chosen(tmp_path):
    (tmp_path / "sub-01" / "pet").mkdir(parents=True)
    for labels in ((), ("01",)):
        with pytest.raises(InputError) as caught:
            find_pets(tmp_path, labels)
        assert ("of these" in str(caught.value)) == bool(labels)


def test_derivatives_on_another_drive_name_the_raw_dataset_by_a_uri(tmp_path, monkeypatch):
    def relpath(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr("os.path.relpath", relpath)
    (tmp_path / "raw").mkdir()
    describe_derivatives(tmp_path / "raw", tmp_path / "own")
    described = json.loads((tmp_path / "own" / "dataset_description.json").read_text())
    assert described["DatasetLinks"] == {"raw": (tmp_path / "raw").as_uri()}
