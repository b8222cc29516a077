"""Training from a table of pairs: from scratch, and mixed with simulated phantoms; no personal data in the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
import yaml
from pair_folder import row_of, write_rows, write_subject

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.research.adaptation.prepared import prepare_pairs
from CSRDDenoiseLib.research.adaptation.training_pairs import divide, run_on, training_pairs
from CSRDDenoiseLib.research.training.config import TrainingConfig
from CSRDDenoiseLib.subjects.table import Row, read_table

NAMES = ("Anna", "Berta", "Carla")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("own scans")
    for number, name in enumerate(NAMES):
        write_subject(root, name, number)
    return write_rows(root / "pairs.tsv", [row_of(name, labels=None, lesions=None) for name in NAMES])


def on_pairs(config: TrainingConfig, table: Path, share: float = 1.0) -> TrainingConfig:
    return replace(config, pairs=table, share=share, anatomy=None if share == 1 else config.anatomy)


@pytest.mark.slow
def test_train_on_pairs_alone_writes_a_model_without_names(training_config, table, tmp_path, capsys):
    config = {
        "name": "own",
        "output": "run",
        "pairs": str(table),
        "architecture": dict(training_config.architecture),
        "model_spacing": 5.0,
        "patch": 16,
        "steps": 4,
        "target": "noise-free",
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["train", str(tmp_path / "train.yaml")]) == 0, capsys.readouterr().err
    metadata = load_model(str(tmp_path / "run" / "model"), "cpu").metadata
    assert metadata.training["pairs"]["pairs"] == 2 and metadata.training["pairs"]["subjects"] == 2
    assert len(metadata.training["pairs"]["data_sha256"]) == 5  # low and full of each, one MR
    assert metadata.dose_range == (0.25, 0.25) and metadata.training["steps"] == 4
    text = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "run" / "model").glob("*.json"))
    assert not any(name in text for name in (*NAMES, str(table), "pairs.tsv"))
    lines = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert any("psnr_full" in json.loads(line) for line in lines)
    assert main(["train", str(tmp_path / "train.yaml"), "--score", "validation"]) == 2


@pytest.mark.slow
def test_share_of_the_patches_is_of_pairs_and_the_others_of_phantoms(training_config, table):
    config = on_pairs(training_config, table, 0.25)
    run = run_on(config, "cpu", training_pairs(config))
    assert run.pairs is not None
    seen = {"pairs": 0, "phantoms": 0}
    for name, pool in (("pairs", run.pairs[0]), ("phantoms", run.pool)):
        doses_of = pool.doses_of

        def counted(phantom, name=name, doses_of=doses_of):
            seen[name] += 1
            return doses_of(phantom)

        pool.doses_of = counted
    run.run()
    seen = dict.fromkeys(seen, 0)
    for step in range(100):
        run.source.batch(step, 2)
    assert sum(seen.values()) == 200
    assert pytest.approx(seen["pairs"], abs=5 * (200 * 0.25 * 0.75) ** 0.5) == 0.25 * 200
    lines = [json.loads(line) for line in (config.output / "log.jsonl").read_text().splitlines()]
    assert {line["event"] for line in lines} == {"train", "validation", "validation of pairs"}


@pytest.mark.slow
def test_a_run_goes_on_with_the_subjects_that_it_was_trained_on(training_config, table, tmp_path):
    """Else one that was trained on is validated on, and the model names scans that it has not seen."""

    def divided(name: str, *splits: str) -> TrainingConfig:
        rows = [row_of(each, labels=None, lesions=None, split=split) for each, split in zip(NAMES, splits)]
        config = on_pairs(training_config, write_rows(table.parent / f"{name}.tsv", rows))
        return replace(config, output=tmp_path / "run", validation_phantoms=1)

    first, other = divided("first", "train", "train", "validation"), divided("other", "validation", "train", "train")
    training_pairs(other)
    # without a checkpoint nothing was trained yet
    run_on(first, "cpu", training_pairs(first)).run()
    with pytest.raises(InputError, match=r"'Anna', 'Berta'.*'Berta', 'Carla'"):
        training_pairs(other)
    assert training_pairs(replace(first, steps=first.steps + 1)).facts.subjects == 2


@pytest.mark.slow
def test_a_full_dose_on_another_grid_is_warned_of_in_training_too(table, tmp_path, caplog):
    full = sitk.ReadImage(str(table.parent / "Anna" / "full_dose.nii.gz"))
    row = read_table(table).checked().rows[0]
    row = replace(row, full=tmp_path / "full.nii.gz", mr=None)
    sitk.WriteImage(sitk.Flip(full, (True, True, False)), str(row.full))
    prepare_pairs([row], tmp_path / "flipped", 5.0)
    assert "different grids" not in caplog.text
    full.SetOrigin([place + 2.0 for place in full.GetOrigin()])
    sitk.WriteImage(full, str(row.full))
    prepare_pairs([row], tmp_path / "aside", 5.0)
    assert "different grids" in caplog.text


@pytest.mark.parametrize("wrong", [{"data": "notes"}, {"architecture": {"type": "ResidualUNet3d", "in_channels": 9}}])
def test_what_cannot_be_trained_is_refused_before_pairs_are_read(table, tmp_path, monkeypatch, wrong):
    monkeypatch.setattr("CSRDDenoiseLib.research.adaptation.prepared.load_pair", lambda _: pytest.fail("read"))
    (tmp_path / "notes").touch()
    config = {"name": "own", "output": "run", "pairs": str(table), **wrong}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert main(["train", str(tmp_path / "train.yaml")]) == 2
    assert not (tmp_path / "run").exists()


def test_subjects_are_divided_by_the_table_or_drawn():
    rows = [
        Row(name, split=split) for name, split in (("A", "train"), ("A", "train"), ("B", "validation"), ("C", "test"))
    ]
    assert divide(rows, (0.8, 0.1, 0.1), 0, True) == {"train": ("A",), "validation": ("B",)}
    drawn = divide([Row(str(number)) for number in range(10)], (0.7, 0.3, 0.0), 0, True)
    assert len(drawn["validation"]) == 3 and not set(drawn["train"]) & set(drawn["validation"])
    assert divide([Row("A")], (1, 0, 0), 0, False)["train"] == ("A",)
    assert len(divide([Row("A"), Row("B")], (0, 0, 1), 0, True)["train"]) == 1
    with pytest.raises(InputError, match="none for 'train'"):
        divide([Row("A")], (0.8, 0.1, 0.1), 0, True)
    with pytest.raises(InputError, match="Subject B has no split"):
        divide([Row("A", split="train"), Row("B")], (0.8, 0.1, 0.1), 0, True)


def test_configuration_needs_anatomies_or_pairs(training_config, table, tmp_path):
    with pytest.raises(InputError, match=r"anatomy.*pairs"):
        replace(training_config, anatomy=None)
    with pytest.raises(InputError, match=r"anatomy.*pairs"):
        replace(training_config, anatomy=None, pairs=table, share=0.5)
    with pytest.raises(InputError, match="cannot be read"):
        training_pairs(on_pairs(training_config, tmp_path / "none.tsv"))
