"""A record can be run again: the same bytes, or a sentence about what is not the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import TINY, save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import FileRequest, denoise_files
from CSRDDenoiseLib.settings import DenoiseSettings


@pytest.fixture
def ran(tmp_path, pet, mr, model_folder):
    for name, image in (("pet", pet), ("mr", mr)):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    settings = DenoiseSettings(steps=2, samples=2, seed=5, patch_size=(16, 16, 20), device="cpu", precision="float32")
    names = ("pet.nii.gz", "out.nii.gz", "mr.nii.gz", "difference.nii.gz", "uncertainty.nii.gz")
    denoise_files(FileRequest(*(tmp_path / name for name in names)), settings, str(model_folder))
    return tmp_path


def replay(folder, *more: str) -> int:
    words = ["denoise", "--replay", folder / "out_provenance.json", "--output", folder / "again.nii.gz"]
    words += ["--uncertainty", folder / "again_u.nii.gz", "--difference", folder / "again_d.nii.gz"]
    return main([str(word) for word in (*words, "--progress", "none", *more)])


def test_replay_makes_the_same_bytes_also_where_auto_would_choose_otherwise(ran):
    record = json.loads((ran / "out_provenance.json").read_text())
    assert record["resolved"]["patch_size"] == [16, 16, 20] and record["resolved"]["precision"] == "float32"
    record["settings"].update(precision="auto", patch_size=None, device="auto")
    (ran / "out_provenance.json").write_text(json.dumps(record))
    assert replay(ran) == 0
    for first, second in (("out", "again"), ("difference", "again_d"), ("uncertainty", "again_u")):
        assert (ran / f"{first}.nii.gz").read_bytes() == (ran / f"{second}.nii.gz").read_bytes()


@pytest.mark.parametrize("name", ["MD5E-s1--1.nii.gz", "MD5-s1--1"])
def test_a_pet_that_is_a_link_is_replayed_with_its_sidecar(tmp_path, pet, model_folder, name):
    # as git-annex keeps files, the second as its backends without suffix name them
    place, link = tmp_path / ".git" / "annex", tmp_path / "pet.nii.gz"
    place.mkdir(parents=True)
    sitk.WriteImage(pet, str(link))
    link.rename(place / name)
    link.symlink_to(place / name)
    (tmp_path / "pet.json").write_text('{"Units": "Bq/mL"}')
    settings = DenoiseSettings(steps=2, samples=2, device="cpu", precision="float32", seed=5)
    denoise_files(FileRequest(link, tmp_path / "out.nii.gz"), settings, str(model_folder))
    assert replay(tmp_path) == 0
    records = [json.loads((tmp_path / f"{stem}_provenance.json").read_text()) for stem in ("out", "again")]
    assert [record["inputs"]["pet"]["path"] for record in records] == [str(tmp_path.resolve() / "pet.nii.gz")] * 2
    assert [record["inputs"]["pet"]["units"] for record in records] == ["Bq/mL"] * 2


def test_labels_of_a_report_are_not_needed_where_none_is_asked_for(ran):
    record = json.loads((ran / "out_provenance.json").read_text())
    record["inputs"]["labels"] = record["inputs"]["pet"]
    (ran / "out_provenance.json").write_text(json.dumps(record))
    assert replay(ran) == 0


def test_other_inputs_and_another_model_are_refused(ran, pet, capsys):
    record = json.loads((ran / "out_provenance.json").read_text())
    content = (ran / "pet.nii.gz").read_bytes()
    sitk.WriteImage(pet + np.float32(1.0).item(), str(ran / "pet.nii.gz"))
    assert replay(ran) == 2 and "not the one of the run" in capsys.readouterr().err
    (ran / "pet.nii.gz").write_bytes(content)
    model = dict(record["model"])
    record["model"]["weights_sha256"] = "0" * 64
    (ran / "out_provenance.json").write_text(json.dumps(record))
    assert replay(ran) == 2 and "000000000000" in capsys.readouterr().err
    record["model"].update(weights_sha256=model["weights_sha256"], boost={"share": 0.5, "noise": [0.1, 0.2]})
    (ran / "out_provenance.json").write_text(json.dumps(record))
    assert replay(ran) == 2 and "'boost'" in capsys.readouterr().err
    (ran / "out_provenance.json").write_text("{}")
    assert replay(ran) == 2 and "not a record" in capsys.readouterr().err
    assert not (ran / "again.nii.gz").exists()


@pytest.mark.parametrize(
    "more",
    [
        *(("--pet", "other.nii.gz"), ("--mr", "other.nii.gz"), ("--labels", "l.nii.gz"), ("--frames", "1")),
        *(("--seed", "0"), ("--preset", "fast"), ("--model", "tissue"), ("--register",), ("--keep-above", "0")),
    ],
)
def test_what_the_record_decides_is_refused_beside_it(ran, capsys, more):
    assert replay(ran, *more) == 2
    assert f"leave {more[0]} out" in capsys.readouterr().err and not (ran / "again.nii.gz").exists()


def test_without_a_pet_or_a_record_there_is_nothing_to_do(tmp_path, capsys):
    assert main(["denoise", "--output", str(tmp_path / "out.nii.gz")]) == 2
    assert "--pet" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "{}", '{"inputs": 5}', "null"])
def test_what_is_no_record_is_one_sentence(tmp_path, capsys, content):
    (tmp_path / "out_provenance.json").write_text(content)
    assert replay(tmp_path) == 2
    assert "is not a record" in capsys.readouterr().err


def test_a_volume_in_one_piece_that_is_smaller_than_a_patch_is_replayed(tmp_path, pet):
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    model = save_tiny_model(tmp_path / "model", architecture={**TINY, "widths": [8] * 4, "blocks": [1] * 4})
    settings = DenoiseSettings(steps=2, samples=2, device="cpu", precision="float32", seed=5)
    result = denoise_files(FileRequest(tmp_path / "pet.nii.gz", tmp_path / "out.nii.gz"), settings, str(model))
    assert result.record.resolved.in_one_piece and max(result.record.resolved.patch_size) == 32
    words = ["--replay", str(tmp_path / "out_provenance.json"), "--output", str(tmp_path / "again.nii.gz")]
    assert main(["denoise", *words]) == 0
    assert (tmp_path / "out.nii.gz").read_bytes() == (tmp_path / "again.nii.gz").read_bytes()
