"""The second simulator: counts, geometry and noise of its scans; and a model's scores on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.io.grid import cubic_image
from CSRDDenoiseLib.measures import psnr
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.research.evidence import carried_over
from CSRDDenoiseLib.research.evidence.carried_over import CarriedOver, carried_over_page, measure, run_carried_over
from CSRDDenoiseLib.research.evidence.other_simulator import (
    FBP,
    OtherScanner,
    _add_lesions,
    _fine,
    _lines,
    _Measured,
    scan_head,
)
from CSRDDenoiseLib.research.simulation.anatomy import AIR, BONE, BRAIN, CSF, GREY, SOFT, WHITE, Anatomy
from CSRDDenoiseLib.research.training.curves import calm_part
from CSRDDenoiseLib.scan import Scan, smooth
from CSRDDenoiseLib.settings import settings_from_preset

OSEM = OtherScanner("OSEM", counts=3e7, updates=36, filter_mm=4.0)
BACK_PROJECTION = OtherScanner("FBP", FBP, counts=3e7, filter_mm=4.0)
SPACING = 4.0


def round_head():
    """A head of balls, (36, 44, 40): white matter, grey matter, CSF, bone, scalp."""
    axes = np.ogrid[tuple(slice(n) for n in (36, 44, 40))]
    radius = SPACING * np.sqrt(sum((line - (line.size - 1) / 2) ** 2 for line in axes))
    limits = (36, 52, 56, 60, 66)
    tissue = np.select([radius < each for each in limits], [WHITE, GREY, CSF, BONE, SOFT], AIR).astype(np.uint8)
    labels = np.where(np.isin(tissue, BRAIN), tissue, 0).astype(np.int16)
    values = {WHITE: 100.0, GREY: 70.0, CSF: 30.0, BONE: 10.0, SOFT: 60.0, AIR: 0.0}
    t1 = np.vectorize(values.get)(tissue).astype(np.float32)
    return Anatomy("round", labels, tissue, SPACING, t1)


@pytest.fixture(scope="module")
def head():
    return round_head()


@pytest.fixture(scope="module")
def scans(head):
    return {each.method: scan_head(head, each, (0.25, 0.1), 3) for each in (OSEM, BACK_PROJECTION)}


def test_every_view_holds_the_integral_of_the_image():
    image = np.random.default_rng(0).random((24, 24), np.float32) * (np.hypot(*np.ogrid[-11.5:12, -11.5:12]) < 11)
    views = (_lines(24, 2.0, 31) @ image.ravel()).reshape(120, 31)
    np.testing.assert_allclose(views.sum(1) * 2.2, image.sum() * 4, rtol=1e-4)


@pytest.mark.parametrize("columns", [40, 39])
@pytest.mark.parametrize("scanner", [OSEM, BACK_PROJECTION], ids=["osem", "fbp"])
def test_a_noise_free_scan_shows_the_activity_where_it_is(head, scanner, columns):
    head = Anatomy(head.name, head.labels, head.tissue[..., :columns], SPACING)
    activity = np.where(head.tissue == AIR, 0, 1).astype(np.float32)
    activity[10:20, 14:24, 8:16] += 1
    fine = ndimage.gaussian_filter(_fine(activity, 4), 2.0)
    measured = _Measured.of(fine, head, scanner, 4)
    image = measured.image(measured.expected, 1.0)
    shown = ndimage.gaussian_filter(activity, 0.6)
    assert np.corrcoef(image.ravel(), shown.ravel())[0, 1] > 0.99
    inside = ndimage.binary_erosion(head.tissue != AIR, iterations=2)
    assert image[inside].mean() == pytest.approx(shown[inside].mean(), rel=0.02)


def test_lesions_are_hot_where_their_labels_are(head):
    flat = np.ones([4 * n for n in head.tissue.shape], np.float32)
    raised, lesions = _add_lesions(flat, head, 4, np.random.default_rng(0))
    voxels = raised.reshape(36, 4, 44, 4, 40, 4).mean((1, 3, 5))
    assert lesions.max() >= 4
    for number in range(1, lesions.max() + 1):
        assert 1.25 < voxels[lesions == number].mean() <= 2.2
    away = ndimage.distance_transform_edt(lesions == 0) * SPACING > 8
    assert np.all(voxels[away] == 1)


def test_a_low_dose_has_part_of_the_counts_of_the_full_dose(head, scans):
    for scan in scans.values():
        clean, inside = scan.noise_free, scan.brain
        errors = {dose: (low - clean)[inside] for dose, low in scan.low_doses.items()}
        full = (scan.full_dose - clean)[inside]
        assert 0.35 < np.corrcoef(errors[0.25], full)[0, 1] < 0.65
        assert errors[0.1].std() / full.std() == pytest.approx(10**0.5, rel=0.15)
        for each in errors.values():
            assert abs(each.mean()) < 0.01 * clean[inside].mean()


def test_back_projection_leaves_noise_of_both_signs_in_air(head, scans):
    air = ndimage.binary_erosion(head.tissue == AIR, iterations=4)
    spread = {name: scan.low_doses[0.1][air].std() for name, scan in scans.items()}
    assert spread["fbp"] > 5 * spread["osem"]
    assert scans["fbp"].low_doses[0.1][air].min() < 0 <= scans["osem"].low_doses[0.1].min()


def test_the_seed_decides(head):
    same = [scan_head(head, OSEM, (0.1,), seed).low_doses[0.1] for seed in (5, 5, 6)]
    np.testing.assert_array_equal(same[0], same[1])
    assert np.abs(same[0] - same[2]).max() > 0


def test_what_cannot_be_scanned_is_refused(head):
    for changes in ({"doses": (2.0,)}, {"heads": ()}, {"seed": -1}, {"scanners": ()}):
        with pytest.raises(InputError, match=next(iter(changes))):
            CarriedOver(Path(), Path(), **{"heads": ("round",), **changes})
    with pytest.raises(InputError, match="fbb"):
        OtherScanner("wrong", "fbb")
    with pytest.raises(InputError, match="updates"):
        OtherScanner("wrong", updates=30)
    with pytest.raises(InputError, match="no T1"):
        scan_head(Anatomy("bare", head.labels, head.tissue, SPACING), OSEM, (0.1,), 0)
    with pytest.raises(InputError, match=r"1\.5 mm"):
        scan_head(Anatomy("fine", head.labels, head.tissue, 1.5, head.t1), OSEM, (0.1,), 0)


def test_calm_brain_is_away_from_its_surface_and_from_lesions():
    brain, lesions = np.zeros((21, 21, 61), bool), np.zeros((21, 21, 61), bool)
    brain[2:19, 2:19, 2:59] = lesions[10, 10, 20] = True
    line = calm_part(brain, lesions, 2.0)[10, 10]
    # 4 mm are two voxels, 12 mm six; a voxel at just that distance is not away
    assert np.flatnonzero(line).tolist() == [*range(4, 14), *range(27, 57)]
    assert np.flatnonzero(calm_part(brain, lesions & False, 2.0)[10, 10]).tolist() == list(range(4, 57))


def test_scores_are_those_of_the_result(scans):
    scan, model = scans["osem"], load_model("tissue", "cpu")
    found = measure(scan, 0.1, model)
    pet, mr = (cubic_image(each, SPACING) for each in (scan.low_doses[0.1], scan.mr))
    result = sitk.GetArrayFromImage(denoise(pet, mr, settings_from_preset("fast"), model).denoised)
    calm = calm_part(scan.brain, scan.lesions > 0, SPACING)
    errors = [np.sqrt(np.mean((image - scan.noise_free)[calm] ** 2)) for image in (scan.low_doses[0.1], result)]
    wanted = 100 * np.array(errors) / scan.noise_free[calm].mean()
    np.testing.assert_allclose([found["noise"], found["error"]], wanted, atol=2e-3)
    mask = Scan.of_array(scan.low_doses[0.1], (SPACING,) * 3).head.mask
    filtered = [smooth(scan.low_doses[0.1], (SPACING,) * 3, width) for width in (4.0, 8.0)]
    assert found["psnr_clean"]["default"] == pytest.approx(psnr(result, scan.noise_free, mask), abs=2e-3)
    assert found["psnr_clean"]["filter"] >= max(psnr(image, scan.noise_free, mask) for image in filtered) - 1e-3
    assert 0.3 < found["contrast"] < 1.3
    assert set(found["ratio"]) == {"0.8", "0.9"} and "uncertainty" not in found


def test_a_run_measures_only_what_is_missing(head, monkeypatch, tmp_path):
    scanned = []

    def scan(*args):
        scanned.append(args)
        return scan_head(*args)

    monkeypatch.setattr(carried_over, "load_anatomy", lambda folder, name: head)
    monkeypatch.setattr(carried_over, "scan_head", scan)
    config = CarriedOver(tmp_path, tmp_path / "out", tmp_path / "page.md", "tissue", ("round",), (OSEM,), (0.1,))
    rows = run_carried_over(config)
    assert run_carried_over(config) == rows and len(scanned) == 1
    assert json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8")) == rows
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert f"{rows[0]['error']:.1f}" in page and "Uncertainty" not in page


def test_the_page_gives_the_mean_and_the_range_of_the_heads():
    psnr = {"default": 30.0, "bare": 31.0, "filter": 29.5}
    rows = [
        {
            "head": f"head {number}",
            "scanner": "one",
            "dose": 0.1,
            "noise": 20.0,
            "error": error,
            "contrast": 0.9,
            "ratio": {"0.8": ratio, "0.9": 1.0},
            "psnr_clean": psnr,
            "psnr_full": psnr,
            "uncertainty": {"ratio": 0.9 + number / 10, "coverage": {"1": 0.68}},
        }
        for number, (error, ratio) in enumerate([(5.0, 0.8), (7.0, 1.0)])
    ]
    page = carried_over_page(rows)
    assert "| one | 1/10 | 20.0 | 6.0 | 0.90 | 0.90 (0.80 to 1.00) | 1.00 (1.00 to 1.00) | +0.50, +1.50 |" in page
    assert "0.90 to 1.00 (68 % within 1)" in page
