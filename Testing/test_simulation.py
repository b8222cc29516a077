"""The simulator: its projector, its counting statistics, its reconstruction and what a subject contains."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ball_labels

from CSRDDenoiseLib.alone import alone
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.simulation import anatomy as anatomies
from CSRDDenoiseLib.research.simulation.families import draw_from_families, draw_scanner_of, scanner_families
from CSRDDenoiseLib.research.simulation.lesions import (
    COLD_LABEL,
    HOT_LABEL,
    MR_ONLY_LABEL,
    add_mr_lesions,
    add_pet_lesions,
    place_blobs,
)
from CSRDDenoiseLib.research.simulation.osem import reconstruct
from CSRDDenoiseLib.research.simulation.projector import make_projectors
from CSRDDenoiseLib.research.simulation.scanner import Scanner, _blur_planes, acquire, expected, gaussian_blur, thin
from CSRDDenoiseLib.research.simulation.subject import (
    SimulationSettings,
    dose_name,
    save_subject,
    simulate_subject,
    write_nifti,
)

SIZE = 48


def disc(depth: int = 8, radius: float = 16) -> torch.Tensor:
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    plane = (axis[:, None] ** 2 + axis**2 < radius**2).float()
    return plane.expand(depth, SIZE, SIZE).contiguous()


def scan(scanner: Scanner, seed: int = 0):
    projectors = make_projectors(SIZE, 96, scanner.subsets)
    generator = torch.Generator().manual_seed(seed)
    activity, mu = disc(), 0.0096 * disc()
    return activity, projectors, acquire(activity, mu, scanner, projectors, generator), generator


@pytest.fixture(scope="module")
def head() -> anatomies.Anatomy:
    """Nested balls: scalp, bone, CSF, grey and white matter in two regions, with a T1."""
    axes = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in (30, 40, 34)], indexing="ij"))
    r = np.sqrt((axes**2).sum(0))
    tissue = np.select(
        [r < 7, r < 10, r < 11, r < 12, r < 14],
        [anatomies.WHITE, anatomies.GREY, anatomies.CSF, anatomies.BONE, anatomies.SOFT],
        anatomies.AIR,
    )
    labels = np.where(r < 10, 1 + (axes[2] > 0) + 2 * (r < 7), 0)
    t1 = np.array([0, 400, 100, 200, 700, 1000, 900], np.float32)[tissue]
    return anatomies.Anatomy("ball", labels.astype(np.int16), tissue.astype(np.uint8), 4.0, t1)


def test_projector_and_back_projector_are_adjoint():
    generator = torch.Generator().manual_seed(1)
    for projector in make_projectors(SIZE, 96, 8):
        x = torch.rand(SIZE * SIZE, 3, generator=generator)
        y = torch.rand(projector.angles * SIZE, 3, generator=generator)
        forward, back = (projector.forward(x) * y).sum(), (x * projector.back(y)).sum()
        assert abs(forward - back) < 1e-4 * abs(forward)


def test_a_projection_through_the_centre_is_the_length_of_the_path():
    (projector,) = make_projectors(SIZE, 12, 1)
    sinogram = projector.forward(disc(1).flatten(1).T.contiguous()).reshape(12, SIZE)
    np.testing.assert_allclose(sinogram[:, SIZE // 2 - 1 : SIZE // 2 + 1].mean(1), 32, rtol=0.04)
    np.testing.assert_allclose(sinogram.sum(1), float(disc(1).sum()), rtol=1e-4)


def test_blur_is_self_adjoint_and_has_its_width():
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.rand(9, 20, 24, generator=generator) for _ in range(2))
    assert torch.isclose((gaussian_blur(x, 3.0) * y).sum(), (x * gaussian_blur(y, 3.0)).sum(), rtol=1e-5)
    point = torch.zeros(41, 41, 41)
    point[20, 20, 20] = 1
    profile = gaussian_blur(point, 6.0)[20, 20]
    assert profile[23] / profile[20] == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("fwhm", [0.2, 0.25, 0.5, 0.75, 1.0, 1.3, 2.0, 3.0, 6.0])
def test_a_blur_of_any_width_leaves_an_even_image_as_it_is(fwhm):
    even = torch.ones(41, 41, 41)
    assert float(gaussian_blur(even, fwhm)[20, 20, 20]) == pytest.approx(1, abs=3e-4)
    assert float(_blur_planes(even, fwhm)[20, 20, 20]) == pytest.approx(1, abs=3e-4)


def test_osem_recovers_a_noise_free_phantom():
    scanner = Scanner(spacing=2.0, resolution_mm=3.0, iterations=10, subsets=8, post_filter_mm=0)
    _, projectors, full, _ = scan(scanner)
    (image,) = reconstruct([expected(full)], scanner, projectors)
    inner = disc(radius=12)[2:-2].bool()
    assert image[2:-2][inner].mean() == pytest.approx(1.0, abs=0.02)
    assert float((image[2:-2][inner] - 1).abs().mean()) < 0.04


def test_thinned_counts_are_part_of_the_full_dose_and_binomial():
    _, _, full, generator = scan(Scanner(counts=3e6))
    low = thin(full, 0.25, generator)
    kept, total = torch.cat(low.counts), torch.cat(full.counts)
    assert bool((kept <= total).all())
    assert float(kept.sum() / total.sum()) == pytest.approx(0.25, abs=0.002)
    variance = float(((kept - 0.25 * total) ** 2).mean() / (0.25 * 0.75 * total.mean()))
    assert variance == pytest.approx(1.0, abs=0.02)


def test_noise_variance_falls_with_counts_and_the_mean_stays():
    scanner = Scanner(counts=2e7, iterations=3, post_filter_mm=4.0)
    _, projectors, full, generator = scan(scanner)
    doses = (1.0, 1 / 4, 1 / 16)
    scans = [full, *(thin(full, dose, generator) for dose in doses[1:]), expected(full)]
    *images, truth = reconstruct(scans, scanner, projectors)
    inner = disc(radius=13).bool()
    variance = [float((image - truth)[inner].var()) for image in images]
    assert variance[1] / variance[0] == pytest.approx(4, rel=0.25)
    assert variance[2] / variance[1] == pytest.approx(4, rel=0.35)
    for image in images:
        assert float(image[inner].mean() / truth[inner].mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_a_subject_follows_from_its_seed(head):
    settings = SimulationSettings(doses=(1 / 4, 1 / 10), noise_free=True, lesion_radius_mm=(8, 10))
    first, second, other = (simulate_subject(head, settings, seed) for seed in (3, 3, 4))
    for name in ("t1", "activity", "full_dose", "labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(first.low_doses[0.1], second.low_doses[0.1])
    assert first.activity.shape != other.activity.shape or not np.array_equal(first.activity, other.activity)
    inside = first.tissue > 0
    noise = [
        float(np.std((image - first.noise_free)[inside])) for image in (first.full_dose, *first.low_doses.values())
    ]
    assert noise[0] < noise[1] < noise[2]


def test_lesions_change_their_own_modality_inside_their_labels_only(head):
    rng = np.random.default_rng(0)
    blobs = place_blobs(head, 4, (8, 12), rng)
    assert len(blobs) > 1
    before = np.ones(head.labels.shape, np.float32)
    activity, labels = add_pet_lesions(before, head.labels, blobs, rng)
    np.testing.assert_array_equal(activity != before, labels >= HOT_LABEL)
    assert all((activity[labels == n] > 1).all() == (n < COLD_LABEL) for n in np.unique(labels[labels >= HOT_LABEL]))
    mr, labels = add_mr_lesions(before, head.labels, blobs, rng)
    np.testing.assert_array_equal(mr != before, labels >= MR_ONLY_LABEL)
    np.testing.assert_array_equal(before, 1)


@pytest.mark.slow
def test_subjects_have_hot_and_cold_lesions(head):
    settings = SimulationSettings(doses=(), lesions=6, lesion_radius_mm=(8, 12))
    labels = np.concatenate([simulate_subject(head, settings, seed).labels.ravel() for seed in range(6)])
    assert all(np.any((labels >= first) & (labels < first + 1000)) for first in (HOT_LABEL, COLD_LABEL, MR_ONLY_LABEL))


def test_a_subject_is_written_with_its_geometry(head, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    subject = simulate_subject(head, SimulationSettings(doses=(0.1,)), 1)
    save_subject(subject, tmp_path)
    image = nibabel.load(tmp_path / "low_dose_1_10.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.header.get_zooms()[0] == pytest.approx(subject.spacing)
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), subject.low_doses[0.1])
    assert {path.name for path in tmp_path.iterdir()} >= {
        "t1.nii.gz",
        "activity.nii.gz",
        "full_dose.nii.gz",
        "labels.nii.gz",
    }


@pytest.mark.parametrize(("dose", "name"), [(1 / 4, "1_4"), (0.1, "1_10"), (1 / 6, "1_6"), (0.5, "1_2")])
def test_doses_have_names(dose, name):
    assert dose_name(dose) == name


@pytest.mark.parametrize(("dose", "nearest"), [("1/300", "1/200"), ("1/1000", "1/200"), ("0.333", "1/3")])
@pytest.mark.parametrize("heads", [["--anatomy", "none"], ["--like", "none.tsv"]])
def test_a_dose_that_files_would_name_as_another_is_refused(dose, nearest, heads, tmp_path, capsys):
    assert main(["simulate", *heads, "--output", str(tmp_path / "out"), "--doses", f"1/4,{dose}"]) == 2
    message = capsys.readouterr().err
    assert f"The dose {Fraction(dose)} cannot" in message and f"is {nearest}." in message
    assert not (tmp_path / "out").exists()


@pytest.fixture
def label_maps(tmp_path):
    """A folder of one anatomy: nested balls with FreeSurfer labels, and two lesions of an earlier simulation."""
    pytest.importorskip("nibabel")
    labels = ball_labels()
    labels[12:14, 14:16, 11:13], labels[12:14, 8:10, 11:13] = HOT_LABEL, MR_ONLY_LABEL + 1
    (tmp_path / "anatomy" / "synthseg").mkdir(parents=True)
    write_nifti(labels, 5.0, tmp_path / "anatomy" / "synthseg" / "ball.nii.gz")
    return tmp_path / "anatomy"


def test_labels_of_a_simulated_subject_are_an_anatomy_again(label_maps):
    anatomy = anatomies.load_anatomy(label_maps, "synthseg/ball")
    assert set(np.unique(anatomy.labels)) == {0, 2, 3, 24, 511}
    assert (anatomy.labels[12:14, 14:16, 11:13] == 2).all(), "a lesion gives way to what is around it"
    assert (anatomy.tissue[12:14, 8:10, 11:13] != anatomies.SOFT).all()


def test_an_anatomy_whose_voxels_are_no_cubes_is_refused(label_maps):
    nibabel = pytest.importorskip("nibabel")
    path = label_maps / "synthseg" / "ball.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), np.diag([1.0, 1.0, 2.0, 1.0])), path)
    with pytest.raises(InputError, match=r"ball.nii.gz' are 1 x 1 x 2 mm; resample"):
        anatomies.load_anatomy(label_maps, "synthseg/ball")


def test_parcels_of_the_cortex_are_no_lesions(label_maps):
    """Of aparc+aseg of FreeSurfer, or SynthSeg with --parc."""
    nibabel = pytest.importorskip("nibabel")
    path = label_maps / "synthseg" / "ball.nii.gz"
    labels = np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]
    write_nifti(np.where(labels == 3, 1028, labels), 5.0, path)
    with pytest.raises(InputError, match=rf"{np.isin(labels, (3, HOT_LABEL, MR_ONLY_LABEL + 1)).sum()} voxels"):
        anatomies.load_anatomy(label_maps, "synthseg/ball")


@pytest.mark.parametrize("labels", [0, 511])
def test_an_anatomy_without_a_brain_does_not_stop_the_others(label_maps, tmp_path, capsys, labels):
    write_nifti(np.full((26, 30, 24), labels, np.int16), 5.0, label_maps / "synthseg" / "atlas.nii.gz")
    words = ["simulate", "--anatomy", str(label_maps), "--output", str(tmp_path / "out"), "--doses", "1/4"]
    assert main([*words, "--spacing", "6", "--scanner", "iterations=1"]) == 4
    assert f"has no brain: its labels are {labels}" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["synthseg_ball"]


def test_an_anatomy_that_is_gone_is_one_sentence(label_maps):
    with pytest.raises(InputError, match=r"'synthseg/gone' in .* cannot be loaded"):
        anatomies.load_anatomy(label_maps, "synthseg/gone")


@pytest.mark.parametrize(("t1", "words"), [((26, 30, 20), "20 x 30 x 26 voxels of 5 mm"), ((26, 30, 24), "of 4 mm")])
def test_a_t1_of_another_grid_than_its_labels_is_refused(label_maps, t1, words):
    (label_maps / "ixi").mkdir()
    write_nifti(np.ones((26, 30, 24), np.int16), 5.0, label_maps / "ixi" / "a_labels.nii.gz")
    write_nifti(np.ones(t1, np.float32), 5.0 if t1[2] == 20 else 4.0, label_maps / "ixi" / "a_T1.nii.gz")
    with pytest.raises(InputError, match=f"T1 of the anatomy 'ixi/a' has .*{words}, and its labels 24 x 30 x 26"):
        anatomies.load_anatomy(label_maps, "ixi/a")


def test_subjects_are_drawn_outside_of_what_is_usual_on_request(label_maps, tmp_path):
    arguments = ["simulate", "--anatomy", str(label_maps), "--output", str(tmp_path / "out"), "--spacing", "6"]
    fixed = ["--scanner", "resolution_mm=9", "--scanner", "iterations=1", "--scanner", "background=0.8"]
    assert main([*arguments, *fixed, "--draws", "2", "--doses", "1/4"]) == 0
    facts = [json.loads((tmp_path / "out" / f"synthseg_ball_{n}" / "subject.json").read_text()) for n in range(2)]
    assert [record["seed"] for record in facts] == [0, 1]
    for record in facts:
        assert (record["scanner"]["resolution_mm"], record["scanner"]["background"]) == (9.0, 0.8)
        assert record["scanner"]["iterations"] == 1 and isinstance(record["scanner"]["iterations"], int)
    assert facts[0]["scanner"]["counts"] != facts[1]["scanner"]["counts"], "the other facts are drawn"


def test_a_subject_that_another_process_makes_is_refused_and_the_others_are_made(label_maps, tmp_path):
    output = tmp_path / "out"
    arguments = ["simulate", "--anatomy", str(label_maps), "--output", str(output), "--spacing", "6"]
    with alone(output / ".synthseg_ball_0.lock", "Another", output):
        assert main([*arguments, "--scanner", "iterations=1", "--doses", "1/4", "--draws", "2"]) == 4
    assert [path.name for path in output.iterdir()] == ["synthseg_ball_1"]


def test_nothing_of_another_subject_stays_in_the_folder_of_a_new_one(label_maps, tmp_path):
    arguments = ["simulate", "--anatomy", str(label_maps), "--output", str(tmp_path / "out"), "--spacing", "6"]
    assert main([*arguments, "--scanner", "iterations=1", "--doses", "1/4,1/10", "--noise-free"]) == 0
    folder = tmp_path / "out" / "synthseg_ball"
    (folder / "low_dose_of_my_own.nii.gz").write_bytes(b"")
    assert main([*arguments, "--scanner", "iterations=1", "--doses", "1/4", "--seed", "7"]) == 0
    always = {f"{name}.nii.gz" for name in ("t1", "activity", "full_dose", "labels", "tissue", "low_dose_1_4")}
    assert {path.name for path in folder.iterdir()} == {*always, "subject.json", "low_dose_of_my_own.nii.gz"}
    assert json.loads((folder / "subject.json").read_text())["seed"] == 7


def test_a_folder_whose_subject_is_replaced_is_complete_with_the_last_file_alone(label_maps, tmp_path, monkeypatch):
    arguments = ["simulate", "--anatomy", str(label_maps), "--output", str(tmp_path / "out"), "--spacing", "6"]
    arguments += ["--scanner", "iterations=1", "--doses", "1/4"]
    assert main(arguments) == 0
    folder, replace = tmp_path / "out" / "synthseg_ball", Path.replace

    def full(path: Path, target: Path) -> Path:
        if target.name == "tissue.nii.gz":
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        assert main([*arguments, "--seed", "7"]) == 3
    assert not (folder / "subject.json").exists(), "files of two subjects"
    assert main([*arguments, "--seed", "7", "--resume"]) == 0
    assert json.loads((folder / "subject.json").read_text())["seed"] == 7


def test_facts_that_are_fixed_replace_those_of_a_scanner_of_a_family(label_maps, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "CSRDDenoiseLib.research.simulation.make.make_subject", lambda job: drawn.append(job.settings) or "done"
    )
    arguments = ["simulate", "--anatomy", str(label_maps), "--output", str(tmp_path / "out"), "--families", "report"]
    assert main([*arguments, "--spacing", "6", "--scanner", "background=0.8", "--draws", "9"]) == 0
    families = [settings.families for settings in drawn]
    assert len(set(families)) > 2 and all(name.startswith("report:") for name in families)
    for settings in drawn:
        family = scanner_families()["report"][settings.families.partition(":")[2]]
        assert (settings.scanner.spacing, settings.scanner.background) == (6.0, 0.8)
        assert {settings.scanner.angles} == set(family["angles"]["choice"])


@pytest.mark.slow
def test_the_record_of_a_subject_names_the_family_of_its_scanner(head):
    scanner = Scanner(spacing=6.0, counts=1e6)
    settings = SimulationSettings(doses=(), scanner=scanner, families="report:digital TOF")
    assert simulate_subject(head, settings, 1).facts["family"] == "digital TOF"


@pytest.mark.parametrize("text", ["colour=3", "counts", "counts=many"])
def test_a_fact_that_no_scanner_has_is_reported(label_maps, tmp_path, text, capsys):
    assert main(["simulate", "--anatomy", str(label_maps), "--output", str(tmp_path / "out"), "--scanner", text]) == 2
    assert f"--scanner {text}" in capsys.readouterr().err


def test_families_give_scanners_within_their_ranges_and_share_no_name():
    parts = scanner_families()
    names = [name for families in parts.values() for name in families]
    assert set(parts) == {"training", "validation", "report"} and len(set(names)) == len(names)
    for part, families in parts.items():
        for name, family in families.items():
            for seed in range(20):
                scanner = draw_scanner_of(family, np.random.default_rng(seed))
                assert scanner.angles % scanner.subsets == 0, name
                assert scanner.iterations >= 1 and 1 <= scanner.spacing <= 3.5, name
        drawn = {draw_from_families(part, np.random.default_rng(seed))[0] for seed in range(60)}
        assert drawn == set(families)


def test_a_measurement_of_finer_pixels_has_the_same_counts_and_is_no_projection_of_the_images():
    coarse, fine = (scan(Scanner(counts=3e6, resolution_mm=0.0, fine_truth=fine))[2] for fine in (False, True))
    assert coarse.counts[0].shape == fine.counts[0].shape
    for one, other in zip(coarse.mean, fine.mean):
        assert float(other.sum()) == pytest.approx(float(one.sum()), rel=0.01)
        assert 1e-4 < float((one - other).abs().mean() / one.mean()) < 0.1


def test_what_the_reconstruction_gets_wrong_changes_the_image_not_the_counts():
    right, wrong = (Scanner(counts=2e7, attenuation_error=e, background_error=e) for e in (0.0, 0.05))
    (_, projectors, one, _), (_, _, other, _) = scan(right), scan(wrong)
    for a, b in zip(one.counts, other.counts):
        assert torch.equal(a, b)
    (image,), (biased,) = (reconstruct([expected(a)], right, projectors) for a in (one, other))
    assert 1.005 < float(biased.sum() / image.sum()) < 1.3
