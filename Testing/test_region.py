"""A region limits a run: the result is the PET outside of it, and the network sees less."""

from __future__ import annotations

import json
from typing import Optional

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.findings import find
from CSRDDenoiseLib.io.grid import cubic_image
from CSRDDenoiseLib.prepare.align import to_model_grid
from CSRDDenoiseLib.prepare.region import box_region, limited_scan
from CSRDDenoiseLib.report.facts import facts_of
from CSRDDenoiseLib.report.parts import median_uncertainty
from CSRDDenoiseLib.report.regions import measure_regions
from CSRDDenoiseLib.report.run import Run, RunImages
from CSRDDenoiseLib.report.summary import reference_region
from CSRDDenoiseLib.restore.canvas import Canvas
from CSRDDenoiseLib.restore.keeping import Keeping
from CSRDDenoiseLib.scan import Scan, smooth
from CSRDDenoiseLib.settings import DenoiseSettings

MEAN = DenoiseSettings(sampler="mean", device="cpu", precision="float32")
DRAWS = DenoiseSettings(steps=2, samples=2, device="cpu", precision="float32")
AXES = np.eye(3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("region") / "tiny"))


@pytest.fixture(scope="module")
def pet():
    return as_image(head_array((48, 56, 52)))


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def centre_of(image: sitk.Image) -> np.ndarray:
    return np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))


def mask_like(image: sitk.Image, box: tuple[slice, ...]) -> sitk.Image:
    array = np.zeros(image.GetSize()[::-1], np.uint8)
    array[box] = 1
    mask = sitk.GetImageFromArray(array)
    mask.CopyInformation(image)
    return mask


BOX = (slice(18, 30), slice(20, 36), slice(22, 38))


def test_outside_is_the_pet_bit_for_bit_and_inside_is_denoised(pet, model):
    region = mask_like(pet, BOX)
    result = denoise(pet, None, DRAWS, model, region=region)
    outside = values(region) == 0
    np.testing.assert_array_equal(values(result.denoised)[outside], values(pet)[outside])
    np.testing.assert_array_equal(values(result.bare)[outside], values(pet)[outside])
    for name in ("difference", "uncertainty", "support"):
        assert not values(getattr(result, name))[outside].any(), name
    assert (values(result.difference)[~outside] != 0).mean() > 0.99
    assert values(result.uncertainty)[~outside].all()
    used = find(result.findings, "region.used").values
    assert used["head_ml"] == pytest.approx(12 * 16 * 16 * np.prod(pet.GetSpacing()) / 1000, rel=0.02)
    assert 0 < used["share"] < 0.5


def test_a_report_measures_the_uncertainty_and_the_noise_of_what_was_denoised(pet, model):
    region = mask_like(pet, BOX)
    result = denoise(pet, None, DRAWS, model, region=region)
    labels = np.where(values(region) > 0, 1, 0) + np.pad(np.full((4, 4, 4), 2), ((8, 36), (8, 44), (8, 40)))
    run = Run(RunImages(pet, result.denoised, result.uncertainty), facts_of(result.record))
    inside = values(result.uncertainty)[(values(region) > 0) & run.brain]
    shown = float(median_uncertainty(run).value.split()[0])
    assert shown == pytest.approx(100 * np.median(inside) / run.brain_mean, rel=0.1)
    one, two = measure_regions(labels, run.pet, run.denoised, run.uncertainty, 0.008)
    assert one.uncertainty > 0 and two.uncertainty is None
    cube = reference_region(pet, values(region) > 0)
    assert values(region)[cube].mean() > 0.8
    assert reference_region(pet, np.pad(np.ones((4, 4, 4), bool), ((22, 22), (26, 26), (24, 24)))) is None
    centre = pet.TransformContinuousIndexToPhysicalPoint([(part.start + part.stop - 1) / 2 for part in cube[::-1]])
    assert run.summary.reference_centre_ras == pytest.approx((-centre[0], -centre[1], centre[2]))


def test_inside_is_as_without_a_region(pet, tmp_path):
    """Brain mean, noise and keeping are those of the whole head, so only what the margin cuts off can differ."""
    # one level: where the crop begins does not change what convolutions see
    single = {"type": "ResidualUNet3d", "widths": [8], "blocks": [2], "embedding": 16}
    model = str(save_tiny_model(tmp_path / "single", mean_from="zero", architecture=single))
    region = mask_like(pet, BOX)
    within = values(region) == 1
    whole, part = (values(denoise(pet, None, MEAN, model, region=each).difference)[within] for each in (None, region))
    assert np.sqrt(np.mean((part - whole) ** 2)) < 0.1 * np.sqrt(np.mean(whole**2))


@pytest.mark.parametrize("cold", [False, True])
def test_detail_finer_than_the_grid_loses_as_much_as_without_a_region(cold):
    """At the region's edge too, and where nothing in the region is as bright as where noise is measured."""
    places = np.meshgrid(*(np.linspace(-1, 1, 96),) * 3, indexing="ij")
    truth = (np.square(places).sum(axis=0) < 0.6).astype(np.float32)
    truth[(places[2] > 0) & (truth > 0)] = 0.4
    noise = 0.3 * np.random.default_rng(1).standard_normal(truth.shape)
    image = cubic_image(5000 * smooth(truth, (1.0,) * 3, 3.0) * (1 + noise), 1.0)
    aligned = to_model_grid(image, None, 2.0)
    box = (slice(36, 60), slice(36, 60), slice(58, 74) if cold else slice(24, 40))
    region, head = mask_like(image, box), Scan(aligned.pet, aligned.grid).cropped()

    def without_change(scan: Scan, limits: Optional[sitk.Image]) -> np.ndarray:
        keeping = Keeping(8.0, 0.0, scan.spacing, scan.pet, scan.brain_mean)
        return values(Canvas.of_scan(image, scan, limits).result(np.zeros_like(scan.pet), keeping).difference)[box]

    whole, part = without_change(head, None), without_change(limited_scan(head, region)[0], region)
    assert np.sqrt(np.mean((part - whole) ** 2)) < 0.03 * np.sqrt(np.mean(whole**2))


@pytest.mark.slow
def test_network_sees_the_region_with_its_margin_alone(model):
    pet = as_image(head_array((96, 64, 64)))
    whole, part = (
        denoise(pet, None, MEAN, model, region=each)
        for each in (None, mask_like(pet, (slice(40, 52), slice(24, 36), slice(24, 36))))
    )
    voxels = [np.prod(each.record.resolved.patch_size) for each in (whole, part)]
    # 12 voxels and 8 of margin on each side, of 2 mm, padded to what the network takes
    assert voxels[1] <= 28**3 < 0.5 * voxels[0]
    assert part.record.brain_mean == whole.record.brain_mean


def test_box_that_is_turned_in_space(pet, model):
    turned = rotation(30.0)
    axes = np.reshape(turned, (3, 3)).T
    size = np.array([30.0, 40.0, 24.0])
    region = box_region(centre_of(pet), size, axes)
    changed = np.argwhere(values(denoise(pet, None, MEAN, model, region=region).difference) != 0)
    points = np.array([pet.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]) for index in changed])
    along = (points - centre_of(pet)) @ axes.T
    assert (np.abs(along) <= size / 2 + 1e-6).all()
    assert len(changed) * np.prod(pet.GetSpacing()) == pytest.approx(np.prod(size), rel=0.03)


@pytest.mark.parametrize(
    ("region", "number"),
    [
        (lambda pet: mask_like(pet, (slice(0, 0),) * 3), "empty"),
        (lambda pet: box_region(centre_of(pet) + 500, (40, 40, 40), AXES), "866 mm"),
        (lambda pet: mask_like(pet, (slice(20, 24),) * 3), "0.5 mL"),
        (lambda pet: mask_like(pet, (slice(0, 6), slice(0, 6), slice(0, 6))), "0.0 mL"),
    ],
    ids=["empty", "outside", "too little head", "in the air"],
)
def test_regions_that_cannot_be_used_are_refused(pet, model, region, number):
    with pytest.raises(InputError, match=number):
        denoise(pet, None, MEAN, model, region=region(pet))


def test_command_line_takes_a_mask_and_the_record_names_it(pet, model, tmp_path):
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    sitk.WriteImage(mask_like(pet, BOX), str(tmp_path / "mask.nii.gz"))
    options = ["--pet", tmp_path / "pet.nii.gz", "--region", tmp_path / "mask.nii.gz", "--model", model]
    run = ["--preset", "fast", "--device", "cpu", "--progress", "none", "--output", tmp_path / "out.nii.gz"]
    assert main(["denoise", *map(str, options + run)]) == 0
    record = json.loads((tmp_path / "out_provenance.json").read_text())
    assert record["inputs"]["region"]["path"] == str(tmp_path / "mask.nii.gz")
    assert any(each["code"] == "region.used" for each in record["findings"])
    out, before = (values(sitk.ReadImage(str(tmp_path / name))) for name in ("out.nii.gz", "pet.nii.gz"))
    outside = np.ones(before.shape, bool)
    outside[BOX] = False
    np.testing.assert_array_equal(out[outside], before[outside])
    again = ["--replay", tmp_path / "out_provenance.json", "--output", tmp_path / "again.nii.gz", "--progress", "none"]
    assert main(["denoise", *map(str, again)]) == 0
    np.testing.assert_array_equal(values(sitk.ReadImage(str(tmp_path / "again.nii.gz"))), out)


def test_empty_mask_on_the_command_line_exits_with_one_sentence(pet, model, tmp_path, capsys):
    sitk.WriteImage(pet, str(tmp_path / "pet.nii.gz"))
    sitk.WriteImage(mask_like(pet, (slice(0, 0),) * 3), str(tmp_path / "mask.nii.gz"))
    options = ["--pet", tmp_path / "pet.nii.gz", "--region", tmp_path / "mask.nii.gz", "--model", model]
    assert main(["denoise", *map(str, options), "--output", str(tmp_path / "out.nii.gz"), "--progress", "none"]) == 2
    assert "region is empty" in capsys.readouterr().err
    assert not (tmp_path / "out.nii.gz").exists()
