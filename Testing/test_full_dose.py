"""Images against the full dose: scores, regions, agreement; grids and units."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array

from CSRDDenoiseLib import measures
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.full_dose import compare_with_full_dose, reference_for
from CSRDDenoiseLib.io.read import read_volume
from CSRDDenoiseLib.io.volume import UNKNOWN, Header, ReadVolume
from CSRDDenoiseLib.research.evaluation.measure import score
from CSRDDenoiseLib.research.evaluation.methods import Outcome
from CSRDDenoiseLib.research.evaluation.study import Masks, Study
from CSRDDenoiseLib.research.validation.scans import scan_of_pair
from CSRDDenoiseLib.sentences import SLICER, sentence
from CSRDDenoiseLib.subjects.pair import load_pair
from CSRDDenoiseLib.subjects.table import Row


def read_as(image: sitk.Image, unit: str = "Bq/mL") -> ReadVolume:
    return ReadVolume(image, unit, (), Header("test", ()))


@pytest.fixture(scope="module")
def full() -> np.ndarray:
    return head_array(seed=3)


@pytest.fixture(scope="module")
def low(full) -> np.ndarray:
    return (full * np.random.default_rng(5).normal(1.02, 0.3, full.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def blocks(full) -> np.ndarray:
    """Eight regions, 1 to 8, one an octant of the volume."""
    z, y, x = np.meshgrid(*(np.arange(n) >= n // 2 for n in full.shape), indexing="ij")
    return (1 + z + 2 * y + 4 * x).astype(np.int16)


def test_scores_are_those_of_the_evaluation(full, low):
    found = compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(as_image(full)))
    reference = reference_for(as_image(low), as_image(full))
    masks = Masks(reference.head, reference.brain, reference.brain, (reference.brain,), (), (), ())
    image = as_image(low)
    study = Study("a", {Fraction(1, 4): image}, image, reference.box, (2.0,) * 3, 1.0, reference.full, None, masks, {})
    expected = score(study, Outcome(reference.cut(image), 0.0))
    ours = found.scores["pet"]
    for name in ("psnr", "ssim", "nrmse", "bias", "total_bias"):
        assert getattr(ours, name) == pytest.approx(expected[name], abs=1e-6), name
    assert ours.bias == pytest.approx(0.02, abs=0.01)
    assert not found.findings and found.regions == ()


@pytest.mark.parametrize("factor", [1, 2])
def test_scores_are_those_of_a_validation_on_any_grid(full, low, tmp_path, factor):
    images = {"low": as_image(low), "full": sitk.Expand(as_image(full), [factor] * 3, sitk.sitkLinear)}
    for name, image in images.items():
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    pair = load_pair(Row("a", tmp_path / "low.nii.gz", tmp_path / "full.nii.gz", dose=Fraction(1, 4)))
    study = scan_of_pair(pair).study
    expected = score(study, Outcome(study.array(study.low_doses[Fraction(1, 4)]), 0.0))
    found = compare_with_full_dose({"pet": read_as(images["low"])}, read_as(images["full"])).scores["pet"]
    for name in ("psnr", "ssim", "nrmse", "bias", "total_bias"):
        assert getattr(found, name) == pytest.approx(expected[name], abs=1e-6), name


def test_ssim_is_that_of_scikit_image(full, low):
    from skimage.metrics import structural_similarity

    whole = np.ones(full.shape, bool)
    _, local = structural_similarity(
        full.astype(np.float64),
        low.astype(np.float64),
        data_range=float(full.max()),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert measures.ssim(low, full, whole) == pytest.approx(float(local.mean()), abs=1e-9)


def test_equal_images_give_plain_json(full):
    image = read_as(as_image(full))
    found = compare_with_full_dose({"pet": image, "denoised": image}, image)
    assert found.scores["pet"].psnr is None and found.scores["denoised"].ssim == pytest.approx(1)
    json.dumps(found.as_dict(), allow_nan=False)


def test_regions_and_their_agreement(full, low, blocks):
    images = {"pet": read_as(as_image(low)), "denoised": read_as(as_image(1.1 * full))}
    found = compare_with_full_dose(images, read_as(as_image(full)), as_image(blocks))
    head = reference_for(as_image(low), as_image(full))
    assert [region.label for region in found.regions] == list(range(1, 9))
    inside = np.zeros(full.shape, bool)
    inside[head.box] = head.head
    for region in found.regions:
        where = inside & (blocks == region.label)
        assert region.millilitres == pytest.approx(where.sum() * 8 / 1000)
        assert region.full == pytest.approx(full[where].mean(dtype=np.float64))
        assert region.images["denoised"] == pytest.approx(1.1 * region.full, rel=1e-5)
        assert region.errors["denoised"] == pytest.approx(0.1, rel=1e-4)
    truth = np.array([region.full for region in found.regions])
    agreement = found.agreement["denoised"]
    assert agreement.bias == pytest.approx(0.1 * truth.mean(), rel=1e-4)
    assert agreement.high - agreement.bias == pytest.approx(1.96 * (0.1 * truth).std(ddof=1), rel=1e-4)
    assert agreement.means == pytest.approx(1.05 * truth, rel=1e-5)


@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.nrrd"])
def test_labels_of_nine_digits_are_regions_of_their_own(full, low, blocks, tmp_path, name):
    """As those of the Allen atlases, which float32 does not tell apart."""
    sitk.WriteImage(as_image(blocks.astype(np.int32) + 182_305_680), str(tmp_path / name))
    images, reference = {"pet": read_as(as_image(low))}, read_as(as_image(full))
    found = compare_with_full_dose(images, reference, read_volume(tmp_path / name, "label map")).regions
    plain = compare_with_full_dose(images, reference, as_image(blocks)).regions
    assert [replace(region, label=region.label - 182_305_680) for region in found] == list(plain)


def test_labels_on_another_grid_in_another_orientation_are_the_same_regions(full, low, blocks):
    turned = sitk.DICOMOrient(as_image(blocks), "RAI")
    images, reference = {"pet": read_as(as_image(low))}, read_as(sitk.DICOMOrient(as_image(full), "PIR"))
    found = compare_with_full_dose(images, reference, turned)
    plain = compare_with_full_dose(images, read_as(as_image(full)), as_image(blocks))
    assert found.as_dict() == plain.as_dict()


def test_another_grid_is_resampled_and_reported(full, low):
    finer = sitk.Expand(as_image(full), [2, 2, 2], sitk.sitkLinear)
    found = compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(finer))
    plain = compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(as_image(full)))
    resampled = find(found.findings, "full_dose.resampled")
    assert "52 x 56 x 48" in sentence(resampled, SLICER) and "26 x 28 x 24" in sentence(resampled, SLICER)
    # small voxels are averaged to large ones, which takes a little from the brain's border
    assert found.scores["pet"].bias == pytest.approx(plain.scores["pet"].bias, abs=0.02)
    # a header that rounds is no other grid
    rounded = as_image(full, origin=(-20.00001, 10.0, 5.0))
    assert not compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(rounded)).findings
    # nor is one with fewer slices
    part = as_image(full)[:, :, 2:]
    found = compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(part)).findings
    assert not find(found, "full_dose.resampled")


def test_what_the_full_dose_does_not_reach_is_left_out_and_reported(full, low):
    part = as_image(full)[:, :, 8:]
    found = compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(part))
    cut = find(found.findings, "full_dose.cut")
    assert cut is not None and cut.is_warning and 50 < cut.values["percent"] < 95
    assert found.scores["pet"].bias == pytest.approx(0.02, abs=0.01)


def test_units(full, low):
    pet, other = as_image(low), as_image(full)
    with pytest.raises(InputError, match=r"Bq/mL.*SUV"):
        compare_with_full_dose({"pet": read_as(pet)}, read_as(other, "g/mL (SUV)"))
    with pytest.raises(InputError, match=r"Bq/mL.*kBq/mL"):
        compare_with_full_dose({"pet": read_as(pet)}, read_as(other, "kBq/mL"))
    # as BIDS sidecars and DICOM write the same
    for ours, theirs in (("Bq/mL", "Bq/ml"), ("kBq/cc", "KBQ/ML"), ("SUV", "g/mL (SUV)"), ("g/mL", "SUVbw")):
        assert not compare_with_full_dose({"pet": read_as(pet, ours)}, read_as(other, theirs)).findings
    unclear = compare_with_full_dose({"pet": read_as(pet)}, read_as(other, UNKNOWN))
    assert [finding.code for finding in unclear.findings] == ["full_dose.unit_unknown"]
    assert unclear.unit == "Bq/mL"
    assert compare_with_full_dose({"pet": read_as(pet, UNKNOWN)}, read_as(other)).unit == "Bq/mL"
    scaled = find(compare_with_full_dose({"pet": read_as(pet)}, read_as(other / 4)).findings, "full_dose.unlike")
    assert scaled.is_warning and scaled.values["ratio"] == pytest.approx(4 * 1.02, rel=0.02)


def test_what_cannot_be_compared_is_refused(full, low):
    away = as_image(full, origin=(900.0, 10.0, 5.0))
    with pytest.raises(InputError, match="overlap"):
        compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(away))
    holed = full.copy()
    holed[5, 5, 5] = np.nan
    with pytest.raises(InputError, match="1 voxels"):
        compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(as_image(holed)))
    with pytest.raises(InputError, match="whole number"):
        compare_with_full_dose({"pet": read_as(as_image(low))}, read_as(as_image(full)), as_image(full + 0.5))


def test_values_along_a_line():
    volume = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    values = measures.along_line(volume, (1, 2, 0), (1, 2, 5), 11)
    assert values == pytest.approx(volume[1, 2, 0] + np.linspace(0, 5, 11))
    outside = measures.along_line(volume, (0, 0, -2), (0, 0, 2), 5)
    assert np.isnan(outside[:2]).all() and outside[2:] == pytest.approx([0, 1, 2])
