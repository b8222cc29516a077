"""Alignment of PET and MR: verdicts, rigid registration, and what reaches the record, on the bundled example."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array, rotation
from study_folder import write_study
from tiny_model import save_tiny_model

from CSRDDenoiseLib.checks.alignment import check_alignment, measure_alignment
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.errors import Cancelled, InputError
from CSRDDenoiseLib.io.grid import Grid
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.prepare.comparable import (
    COARSE,
    head_points,
    make_pair,
    matrix,
    no_motion,
    normalised_mutual_information,
    size_of,
)
from CSRDDenoiseLib.prepare.register import moved, register, register_mr
from CSRDDenoiseLib.research.evaluation.experiments import EXPERIMENTS, Bench
from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder
from CSRDDenoiseLib.sentences import CLI, sentence
from CSRDDenoiseLib.settings import DenoiseSettings

FAST = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu")


@pytest.fixture(scope="module")
def example() -> tuple[sitk.Image, sitk.Image]:
    """A tenth of the dose and the MR of the same head, well aligned, on 4 mm voxels to be quick."""
    folder = resource_folder() / SAMPLE_DATA
    names = ("low_dose_1_10.nii.gz", "mr.nii.gz")
    return tuple(sitk.BinShrink(sitk.ReadImage(str(folder / name), sitk.sitkFloat32), [2] * 3) for name in names)


@pytest.fixture(scope="module")
def landmarks(example) -> np.ndarray:
    return head_points(make_pair(*example, COARSE))


@pytest.fixture(scope="module")
def coarse_model(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("coarse") / "tiny", voxel_spacing_mm=4.0, sigma_max=2.0)


def motion_of(landmarks: np.ndarray, shift: tuple[float, ...], degrees: float, axis=(1.0, -2.0, 2.0)) -> sitk.Transform:
    motion = sitk.VersorRigid3DTransform()
    motion.SetCenter(landmarks.mean(0).tolist())
    motion.SetTranslation(shift)
    motion.SetRotation(axis, float(np.deg2rad(degrees)))
    return motion


def noise_like(image: sitk.Image) -> sitk.Image:
    values = np.random.default_rng(0).random(image.GetSize()[::-1]).astype(np.float32)
    return Grid.of(image).image(100 * values)


# -- the verdict


@pytest.mark.parametrize(
    ("shift", "degrees", "verdict"),
    [
        ((0, 0, 0), 0, "aligned"),
        ((0.5, -0.5, 0.5), 0.5, "aligned"),
        ((3.5, 2, 0), 0, "doubtful"),
        ((0, 7, 4), 0, "misaligned"),
        ((0, 0, 0), 10, "misaligned"),
        ((-15, 10, 8), 12, "misaligned"),
    ],
)
def test_verdict_and_estimated_offset(example, landmarks, shift, degrees, verdict):
    pet, mr = example
    motion = motion_of(landmarks, shift, degrees)
    found = measure_alignment(pet, moved(mr, motion))
    assert found.verdict == verdict
    assert found.offset_mm == pytest.approx(np.linalg.norm(shift), abs=1.5)
    assert found.angle_degrees == pytest.approx(degrees, abs=1.5)
    assert found.displacement_mm == pytest.approx(size_of(matrix(motion), landmarks).displacement_mm, abs=1.5)
    assert 1 < found.nmi <= found.nmi_best + 1e-3 < 2


@pytest.mark.slow
def test_aligned_pair_gets_no_warning_and_a_misaligned_one_gets_numbers(example, landmarks):
    pet, mr = example
    (finding,) = check_alignment(pet, mr)
    assert finding.code == "alignment.aligned" and not finding.is_warning
    (finding,) = check_alignment(pet, moved(mr, motion_of(landmarks, (0, 9, 0), 8)))
    assert finding.code == "alignment.misaligned" and "--register" in sentence(finding, CLI)
    assert f"{finding.values['offset_mm']:.1f} mm and {finding.values['angle_degrees']:.1f} deg" in sentence(finding)


@pytest.mark.parametrize(("side", "centre"), [(14, (0, 8, 4)), (14, (-6, -6, 4)), (20, (0, 0, 0))])
def test_piece_of_a_head_is_not_misaligned_by_a_motion_that_gains_nothing(example, landmarks, side, centre):
    pet, mr = example
    middle = np.array(pet.TransformPhysicalPointToContinuousIndex(landmarks.mean(0))) + centre
    first = [int(np.clip(start, 0, size - side)) for start, size in zip(middle - side / 2, pet.GetSize())]
    found = measure_alignment(*(sitk.RegionOfInterest(image, [side] * 3, first) for image in (pet, mr)))
    assert found.verdict == "aligned" and found.displacement_mm < 3.0


@pytest.mark.slow
def test_a_wide_field_of_view_changes_neither_verdict_nor_registration(example, landmarks):
    """Clinical PET/CT has fields of view of 700 mm, of which a head fills a twentieth."""
    pet, mr = example
    wide = sitk.ConstantPad(pet, (65, 60, 0), (65, 60, 0))
    motion = motion_of(landmarks, (-15, 10, 8), 12)
    found = measure_alignment(wide, moved(mr, motion))
    assert found.verdict == "misaligned"
    assert found.displacement_mm == pytest.approx(size_of(matrix(motion), landmarks).displacement_mm, abs=2.0)
    registered = register(wide, moved(mr, motion))
    error = size_of(matrix(motion) @ matrix(registered.motion), landmarks)
    assert registered.applied and error.displacement_mm < 1.5


@pytest.mark.slow
def test_an_mr_with_left_and_right_exchanged_is_found_also_after_a_registration(example):
    pet, mr = example
    exchanged = Grid.of(mr).image(sitk.GetArrayFromImage(mr)[..., ::-1].copy())
    placed = moved(exchanged, register(pet, exchanged).motion)
    found = {finding.code: finding for finding in check_alignment(pet, placed)}
    assert "alignment.aligned" in found and found["mirror.found"].is_warning
    assert found["mirror.found"].values["nmi_mirrored"] > found["mirror.found"].values["nmi_best"] + 0.02
    (alone,) = check_alignment(pet, mr)
    assert not alone.values["mirrored"] and alone.values["nmi_mirrored"] < alone.values["nmi_best"]


def test_more_noise_is_no_misalignment(example):
    pet, mr = example
    values = sitk.GetArrayFromImage(pet)
    noise = np.random.default_rng(0).normal(0, 0.5, values.shape) * values
    assert measure_alignment(Grid.of(pet).image((values + noise).astype(np.float32)), mr).verdict == "aligned"


def test_mr_that_shows_nothing_of_the_head_is_doubtful(example):
    pet, mr = example
    (finding,) = check_alignment(pet, noise_like(mr))
    assert finding.code == "alignment.doubtful" and finding.values["prominence"] < 0.25
    assert finding.values["reason"] == "nothing_in_common"


def test_mr_far_away_is_misaligned(example, landmarks):
    pet, mr = example
    found = measure_alignment(pet, moved(mr, motion_of(landmarks, (90, 0, 60), 0)))
    assert found.verdict == "misaligned" and found.outline_overlap < 0.6


def test_pet_without_a_head_has_no_alignment(example):
    assert check_alignment(example[0] * 0, example[1]) == ()


def test_mutual_information_is_one_where_nothing_is_shared_and_falls_with_distance(example, landmarks):
    pet, mr = example
    pair = make_pair(pet, mr, COARSE)
    values = [
        normalised_mutual_information(pair, motion_of(landmarks, (shift, 0, 0), 0)) for shift in (0, 6, 12, 24, 500)
    ]
    assert values == sorted(values, reverse=True) and values[-1] == 1
    assert normalised_mutual_information(make_pair(pet, noise_like(mr), COARSE), no_motion(pair)) < 1.02


# -- the registration


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_registration_recovers_a_large_offset(example, landmarks, seed):
    pet, mr = example
    rng = np.random.default_rng(seed)
    way, axis = rng.normal(size=(2, 3))
    motion = motion_of(landmarks, tuple(20 * way / np.linalg.norm(way)), 15, tuple(axis))
    found = register(pet, moved(mr, motion))
    error = size_of(matrix(motion) @ matrix(found.motion), landmarks)
    assert error.displacement_mm < 1.5 and error.degrees < 1.5
    assert found.applied and found.after > found.before + 0.03


def test_registration_finds_an_mr_in_another_place_turned_and_with_other_axes(example, landmarks):
    pet, mr = example
    far = sitk.DICOMOrient(moved(mr, motion_of(landmarks, (400, -300, 200), 10)), "RSA")
    placed, finding = register_mr(pet, far)
    assert finding.code == "registration.applied"
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(placed), sitk.GetArrayViewFromImage(far))
    assert measure_alignment(pet, placed).verdict == "aligned"


@pytest.mark.slow
def test_same_registration_to_the_last_bit(example, landmarks):
    pet, mr = example
    out_of_place = moved(mr, motion_of(landmarks, (5, 4, 3), 4))
    one, other = (register(pet, out_of_place).as_dict() for _ in range(2))
    assert one == other


@pytest.mark.slow
def test_registration_that_fails_says_so_and_leaves_the_mr(example):
    pet, mr = example
    noise = noise_like(mr)
    placed, finding = register_mr(pet, noise)
    assert placed is noise
    assert finding.is_warning and finding.values["applied"] is finding.values["converged"] is False


def test_record_of_a_registration_is_json_and_moves_the_mr(example, landmarks):
    pet, mr = example
    motion = motion_of(landmarks, (6, -5, 4), 7)
    out_of_place = moved(mr, motion)
    facts = json.loads(json.dumps(register_mr(pet, out_of_place)[1].as_dict()))["values"]
    back = np.array(facts["mr_to_pet_lps"])
    np.testing.assert_allclose(back[:3, :3] @ back[:3, :3].T, np.eye(3), atol=1e-9)
    assert size_of(back @ np.linalg.inv(matrix(motion)), landmarks).displacement_mm < 1.5
    recorded = sitk.Euler3DTransform()
    recorded.SetCenter(facts["transform"]["centre"])
    recorded.SetParameters(facts["transform"]["parameters"])
    np.testing.assert_allclose(matrix(recorded.GetInverse()), back, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_any_geometry_gets_a_verdict_or_none_and_no_crash(seed):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(2):
        shape, spacing, origin = rng.integers(4, 50, 3), rng.uniform(0.5, 8, 3), rng.uniform(-50, 50, 3)
        array = head_array(tuple(shape)) - np.float32(rng.choice([0, 2500]))
        directions = rotation(float(rng.uniform(0, 360)), tuple(rng.normal(size=3)))
        images.append(as_image(array * np.float32(10.0 ** rng.integers(-9, 9)), tuple(spacing), origin, directions))
    findings = check_alignment(*images)
    assert [finding.values["verdict"] for finding in findings] in ([], ["aligned"], ["doubtful"], ["misaligned"])
    assert all(finding.is_warning == (finding.code != "alignment.aligned") for finding in findings)
    placed, finding = register_mr(*images)
    assert (placed is images[1]) == finding.is_warning == (not finding.values["applied"])
    json.dumps([each.as_dict() for each in (*findings, finding)], allow_nan=False)


# -- in a run


@pytest.mark.slow
def test_misalignment_reaches_warnings_and_record(example, landmarks, coarse_model):
    pet, mr = example
    aligned = denoise(pet, mr, FAST, coarse_model)
    assert not [w for w in aligned.warnings if "aligned" in w]
    assert aligned.provenance["quality"]["alignment"]["verdict"] == "aligned"
    off = denoise(pet, moved(mr, motion_of(landmarks, (8, 0, 0), 6)), FAST, coarse_model)
    assert off.provenance["quality"]["alignment"]["verdict"] == "misaligned"
    assert [w for w in off.warnings if "misaligned" in w] and off.provenance["warnings"] == list(off.warnings)
    assert "registration" not in off.provenance["quality"]


@pytest.mark.slow
def test_registered_run_is_like_that_of_the_aligned_mr(example, landmarks, coarse_model):
    pet, mr = example
    off = moved(mr, motion_of(landmarks, (300, 15, -10), 12))
    register_it = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", register=True)
    good = denoise(pet, mr, FAST, coarse_model)
    registered = denoise(pet, off, register_it, coarse_model)
    assert registered.provenance["quality"]["registration"]["applied"]
    assert registered.provenance["quality"]["alignment"]["verdict"] == "aligned"
    assert registered.provenance["inputs"]["mr"]["origin_mm"] == list(off.GetOrigin())
    without = denoise(pet, None, FAST, coarse_model)
    distance = [sitk.GetArrayFromImage(run.denoised - good.denoised).std() for run in (registered, without)]
    assert distance[0] < 0.5 * distance[1]


def test_registration_can_be_cancelled(example, coarse_model):
    reports = []

    def stop_at_the_second_search(report) -> bool:
        reports.append(report)
        return not (report.stage == "align" and report.step == 1)

    settings = DenoiseSettings(sampler="mean", steps=1, samples=1, device="cpu", register=True)
    with pytest.raises(Cancelled):
        denoise(*example, settings, coarse_model, stop_at_the_second_search)
    assert [report.of for report in reports if report.stage == "align"][-1] == 4


def test_register_without_an_mr_is_refused(example, coarse_model):
    with pytest.raises(InputError, match="no MR to register"):
        denoise(example[0], None, DenoiseSettings(register=True, device="cpu"), coarse_model)


@pytest.mark.slow
def test_command_line_registers_and_reports_it(example, landmarks, coarse_model, tmp_path, capsys):
    pet, mr = example
    for name, image in (("pet", pet), ("mr", moved(mr, motion_of(landmarks, (10, 0, 0), 5)))):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    files = [f"--{name}={tmp_path / name}.nii.gz" for name in ("pet", "mr", "output")]
    words = ["denoise", *files, f"--model={coarse_model}", "--preset=fast", "--device=cpu", "--overwrite"]
    assert main(words) == 0
    assert "Warning: PET and MR are misaligned" in capsys.readouterr().err
    assert main([*words, "--register"]) == 0
    printed = capsys.readouterr().err
    assert "The MR was moved by" in printed and "misaligned" not in printed
    record = json.loads((tmp_path / "output_provenance.json").read_text())
    assert record["settings"]["register"] is True
    assert record["quality"]["registration"]["offset_mm"] == pytest.approx(10, abs=1.5)


# -- the experiment


@pytest.mark.slow
def test_experiment_counts_verdicts_and_measures_the_registration(example, coarse_model, tmp_path, caplog):
    folder = write_study(tmp_path / "subject")
    pet, mr = example
    for path in folder.glob("*.nii.gz"):
        sitk.WriteImage(sitk.Resample(sitk.ReadImage(str(path)), pet, sitk.Transform(), sitk.sitkNearestNeighbor), path)
    images = {"low_dose_1_10": pet, "low_dose_1_4": pet, "t1": sitk.Resample(mr, pet)}
    images.update(full_dose=sitk.DiscreteGaussian(pet, 2.0), noise_free=sitk.DiscreteGaussian(pet, 4.0))
    for name, image in images.items():
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    caplog.set_level("INFO")
    bench = Bench((folder,), load_model(coarse_model), "cpu")
    offsets = ((0, 0), (10, 5))
    section = EXPERIMENTS["alignment"](bench, doses=["1/10"], offsets=offsets, registrations=1)
    checks, registration = section.tables
    assert [row[0] for row in checks.rows] == ["0 mm, 0 degrees", "10 mm, 5 degrees"]
    assert [row[2:5] for row in checks.rows] == [("100%", "0%", "0%"), ("0%", "0%", "100%")]
    assert [float(row[1]) for row in checks.rows] == pytest.approx([0, 11], abs=1.5)
    assert ("within 1.5 mm and 1.5 degrees", "100%") in registration.rows
    assert "subject: 2 checks" in caplog.messages
