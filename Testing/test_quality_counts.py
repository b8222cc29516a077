"""The dose against a full dose of the same scanner and protocol: estimated where it can be, and left out elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Optional

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image
from scipy import ndimage
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.checks.counts import compare_counts, count_noise, share_of_counts
from CSRDDenoiseLib.checks.dose import REFERENCE, TYPICAL
from CSRDDenoiseLib.checks.noise import RIGHT_FACTOR, judge_noise
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.findings import warning
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.research.evaluation.experiments import EXPERIMENTS, Bench
from CSRDDenoiseLib.scan import Scan
from CSRDDenoiseLib.sentences import sentence

STEP = 4.0
SIDE = 44
COUNTS = 2e7


def scan(dose: float, radius_mm: float = 70.0, seed: int = 0, step: float = STEP) -> sitk.Image:
    """A ball of grey around white matter, in which so many counts of the full dose are spread, Bq/mL."""
    r = np.linalg.norm(np.indices((SIDE,) * 3) - (SIDE - 1) / 2, axis=0) * STEP
    activity = ndimage.gaussian_filter(np.where(r < 0.7 * radius_mm, 0.8, 1.2) * (r < radius_mm), 1.0)
    expected = activity * dose * COUNTS / activity.sum()
    counts = np.random.default_rng(seed).poisson(expected)
    return as_image((5000 * counts * activity.sum() / COUNTS / dose).astype(np.float32), (step,) * 3)


def on_grid(image: sitk.Image) -> Scan:
    aligned = to_model_grid(image, None, STEP)
    return Scan(aligned.pet, aligned.grid)


def compare(pet: sitk.Image, reference: sitk.Image):
    return compare_counts(on_grid(pet), pet.GetSpacing(), reference, STEP)


@pytest.mark.parametrize("dose", [1 / 2, 1 / 10, 1 / 40])
@pytest.mark.parametrize("radius_mm", [70.0, 60.0])
def test_share_of_the_counts_is_found_also_against_a_smaller_head(dose, radius_mm):
    findings, share = compare(scan(dose), scan(1.0, radius_mm, seed=1))
    assert findings == () and dose / RIGHT_FACTOR < share < RIGHT_FACTOR * dose


def test_a_leak_on_the_skin_is_no_larger_head():
    values = sitk.GetArrayFromImage(scan(0.1))
    values[20:25, 3:8, 20:25] = 200 * 5000.0
    findings, share = compare(as_image(values, (STEP,) * 3), scan(1.0, seed=1))
    assert findings == () and share == pytest.approx(compare(scan(0.1), scan(1.0, seed=1))[1], rel=0.3)


def test_of_a_whole_field_the_reference_has_its_whole_field():
    """A head on a long trunk: the trunk of both is counted, or of neither."""

    def body(dose: float, seed: int) -> sitk.Image:
        head = sitk.GetArrayFromImage(scan(dose, seed=seed))[8:]
        trunk = np.random.default_rng(seed).poisson(540 * dose, (150, SIDE, SIDE)) * 5.6 / dose
        y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
        return as_image(np.concatenate([trunk * (np.hypot(y, x) < 18), head]).astype(np.float32), (STEP,) * 3)

    pet, reference = on_grid(body(0.1, 0)), body(1.0, 1)
    assert pet.head.body_mm
    of_head, of_all = (
        compare_counts(replace(pet, whole_field=whole), (STEP,) * 3, reference, STEP)[1] for whole in (False, True)
    )
    assert of_all == pytest.approx(of_head, rel=0.2) == pytest.approx(0.1, rel=0.2)


def test_noise_grows_as_the_counts_of_each_millilitre_shrink():
    large, small = (count_noise(on_grid(scan(0.1, radius_mm)), STEP) for radius_mm in (70.0, 60.0))
    assert large.power / small.power == pytest.approx((70 / 60) ** 3, rel=0.2)
    assert share_of_counts(large, large) == 1.0
    assert share_of_counts(large, replace(large, power=large.power / 4)) == pytest.approx(0.25)


def test_other_voxels_are_another_protocol():
    (finding,), share = compare(scan(0.1), scan(1.0, step=5.0))
    assert share is None and finding.code == "counts.other_protocol"
    assert finding.values == {"pet_sides": [4.0] * 3, "reference_sides": [5.0] * 3}


def test_what_has_no_noise_or_no_brain_is_not_compared():
    nothing = as_image(np.zeros((SIDE,) * 3, np.float32), (STEP,) * 3)
    for reference in (nothing, scan(1.0, radius_mm=20.0)):
        (finding,), share = compare(scan(0.1), reference)
        assert share is None and finding == warning("counts.too_little", which="full-dose reference")
    (finding,), share = compare(scan(0.1, radius_mm=20.0), scan(1.0))
    assert share is None and finding == warning("counts.too_little", which="PET")


@pytest.mark.parametrize("share", [None, 0.2])
def test_dose_is_reported_with_what_it_is_relative_to(share: Optional[float]):
    fit = {"weights": [1.0] * 16, "offset": 3.0, "answers": [2.0, 10.0], "right": 0.4, "factor": 2.0}
    extra = {"noise_level_range": {"levels": {}, "range": [0.02, 0.1], "dose_fit": fit}}
    noise, dose = judge_noise(0.5, np.zeros(16), extra, share)
    if share:
        assert dose.values == {"estimate": 0.2, "relative_to": REFERENCE}
        assert "dose 1/5 of the full-dose reference" in sentence(noise)
    else:
        assert dose.values["relative_to"] == TYPICAL
        assert dose.values["range"] == pytest.approx([np.exp(-3) / 2, 2 * np.exp(-3)], rel=1e-3)
        assert "dose 1/20, likely 1/10 to 1/40" in sentence(noise)


def test_experiment_compares_with_heads_on_the_same_scanner_only(tmp_path):
    folders = [write_study(tmp_path / f"subject_{seed}", seed) for seed in range(3)]
    (folders[1] / "subject.json").write_text((folders[0] / "subject.json").read_text())
    model = load_model(save_tiny_model(tmp_path / "model", voxel_spacing_mm=4.0))
    bench = Bench(tuple(folders), model)
    (table,) = EXPERIMENTS["counts"](bench, doses=["1/4", "1/40"]).tables
    rows = {row[0]: row[1:] for row in table.rows}
    alone, in_range, own, other = rows["1/40"]
    assert (alone, in_range) == ("", ""), "the model does not record the noise of its training"
    assert " of 3 " in own and " of 2 " in other
    assert " of 6 " in rows["all"][2] and " of 4 " in rows["all"][3]


@pytest.mark.slow
def test_command_reports_and_records_the_share(tmp_path, model_folder, capsys):
    files = {"pet": scan(0.1), "full": scan(1.0, seed=1)}
    for name, image in files.items():
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    call = ["denoise", "--pet", tmp_path / "pet.nrrd", "--output", tmp_path / "out.nrrd", "--model", model_folder]
    call += ["--full-dose-reference", tmp_path / "full.nrrd", "--preset", "fast", "--progress", "none"]
    call += ["--report", tmp_path]
    assert main([str(part) for part in call]) == 0
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    dose = record["quality"]["noise"]["dose"]
    assert dose["relative_to"] == REFERENCE and 0.1 / RIGHT_FACTOR < dose["estimate"] < 0.1 * RIGHT_FACTOR
    assert record["inputs"]["full_dose_reference"]["path"].endswith("full.nrrd")
    assert f"{dose['estimate']:.2g} of the counts of the full-dose reference" in capsys.readouterr().err
    assert ">full-dose reference<" in (tmp_path / "out.html").read_text(encoding="utf-8")
