"""Real-looking heads: scalp, neck and face that take up much, a field of view round the brain, a T1 with a bias."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from CSRDDenoiseLib.checks.attenuation import attenuation_left, check_attenuation
from CSRDDenoiseLib.checks.contrast import check_contrast
from CSRDDenoiseLib.checks.cut import check_cut
from CSRDDenoiseLib.checks.depth import depth_mm, without_holes
from CSRDDenoiseLib.checks.noise import INSIDE, OUTSIDE, judge_noise
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.bundle import find_model, read_metadata
from CSRDDenoiseLib.model.contents import NOISE_RANGE
from CSRDDenoiseLib.research.evaluation import trials, varied
from CSRDDenoiseLib.research.evaluation.experiments import heads as experiment
from CSRDDenoiseLib.research.evaluation.experiments.bench import Bench
from CSRDDenoiseLib.research.evaluation.faults import CONTRASTS
from CSRDDenoiseLib.research.evaluation.run import read_config, run_evaluation
from CSRDDenoiseLib.research.evaluation.varied import HeadSet
from CSRDDenoiseLib.research.simulation.anatomy import AIR, BONE, BRAIN, GREY, SOFT, WHITE
from CSRDDenoiseLib.scan import Scan
from CSRDDenoiseLib.sentences import sentence

SIDE_MM = 6.0
HEADS = np.load(Path(__file__).parent / "data" / "heads.npz")
T1 = (0.0, 0.6, 0.1, 0.3, 0.7, 1.0, 0.95)
both = pytest.mark.parametrize("head", ["a", "b"])


def scan(array: np.ndarray, side_mm: float = SIDE_MM) -> Scan:
    return Scan.of_array(array.astype(np.float32), (side_mm,) * 3)


def former_score(of: Scan) -> float:
    """What was compared with 0.5: rim x shell over the square of the centre, whatever takes up there."""
    depth = depth_mm(without_holes(of.foreground()), of.spacing)
    zones = ((0.0, 0.2), (0.4, 0.7), (0.7, 1.0))
    share = depth / depth.max()
    rim, shell, centre = (np.median(of.smoothed[(share > low) & (share <= high)]) for low, high in zones)
    return float(rim * shell / centre**2)


# -- attenuation


@both
def test_hot_scalp_is_no_lack_of_attenuation_correction(head):
    pet = scan(HEADS[f"pet_{head}"])
    assert former_score(pet) > 0.5, "the head raised the false alarm"
    assert check_attenuation(pet)[0].code == "attenuation.plausible"


@both
def test_lack_of_attenuation_correction_is_found_under_a_hot_scalp(head):
    (finding,) = check_attenuation(scan(HEADS[f"uncorrected_{head}"]))
    assert finding.code == "attenuation.doubtful" and finding.values["score"] > 1
    assert "attenuation" in sentence(finding)


def test_hot_nuclei_do_not_hide_what_attenuation_left():
    pet = np.array(HEADS["uncorrected_b"], np.float32)
    head, cup = without_holes(scan(pet).foreground()), check_attenuation(scan(pet))[0].values["cup"]
    left = attenuation_left(head, SIDE_MM)
    pet[head & (left < np.quantile(left[head], 0.03))] *= 4
    assert check_attenuation(scan(pet))[0].values["cup"] > 0.8 * cup, "a fit of least squares gives a third"


def test_mean_of_real_controls_is_no_lack_of_attenuation_correction():
    pet = scan(np.pad(HEADS["pet_template"], 4), 3.0)
    assert check_attenuation(pet)[0].code == "attenuation.plausible"


def test_attenuation_is_that_of_the_lines_through_a_disc():
    y, x = np.indices((41, 41)) - 20
    disc = (np.hypot(y, x) <= 16)[None]
    left = attenuation_left(disc, 5.0)[0]
    assert left[20, 20] == pytest.approx(np.exp(-0.0096 * 165), rel=0.05), "every line through the middle is a diameter"
    assert left[20, 20] < left[20, 28] < left[20, 34]


# -- cut off


@both
def test_neck_and_face_may_leave_the_field_of_view(head):
    pet, brain = HEADS[f"pet_{head}"], np.isin(HEADS[f"tissue_{head}"], BRAIN)
    z, y, x = ndimage.find_objects(brain.astype(np.uint8))[0]
    assert check_cut(scan(pet)).code == "cut.none"
    assert check_cut(scan(pet[z.start :, y.start - 2 : y.stop + 2, x.start - 2 : x.stop + 2])).code == "cut.none"


@both
@pytest.mark.parametrize(("end", "axis"), [("bottom", 0), ("top", 0), ("front", 1), ("left", 2)])
def test_brain_that_is_cut_off_is_found_at_its_edge(head, end, axis):
    pet, brain = HEADS[f"pet_{head}"], np.isin(HEADS[f"tissue_{head}"], BRAIN)
    share = np.cumsum(brain.sum(axis=tuple({0, 1, 2} - {axis}))) / brain.sum()
    low, high = (int(np.searchsorted(share, part)) for part in (0.2, 0.8))
    kept = slice(low, None) if end in ("bottom", "front") else slice(0, high)
    finding = check_cut(scan(pet[tuple(kept if each == axis else slice(None) for each in range(3))]))
    assert finding.is_warning and end in finding.values["edges_cm2"]


# -- the MR


FINER = 2


def finer(head: str) -> tuple[Scan, np.ndarray]:
    """The PET and the tissue of a head on voxels of 3 mm, with a skull, which neither has between brain and scalp."""
    tissue = HEADS[f"tissue_{head}"].repeat(FINER, 0).repeat(FINER, 1).repeat(FINER, 2)
    brain = np.isin(tissue, BRAIN)
    tissue = np.where(ndimage.binary_dilation(brain, iterations=2) & ~brain, BONE, tissue)
    return scan(ndimage.zoom(HEADS[f"pet_{head}"], FINER, order=1), SIDE_MM / FINER), tissue


def mr_of(tissue: np.ndarray, levels: tuple[float, ...], bias: float, side_mm: float = SIDE_MM / FINER) -> np.ndarray:
    """An MR of the levels of the tissues, times exp(bias) at the surface of the head and 1 from 60 mm below it."""
    depth = depth_mm(np.pad(tissue > 0, 1), (side_mm,) * 3)[1:-1, 1:-1, 1:-1]
    values = np.array(levels)[tissue] * np.exp(bias * (1 - np.clip(depth, 0, 60) / 60))
    return ndimage.gaussian_filter(values, 0.5).astype(np.float32)


@pytest.mark.parametrize(("head", "bias"), [("a", 0.3), ("b", 0.6)])
def test_t1_whose_cortex_the_coils_brighten_is_plausible(head, bias):
    pet, tissue = finer(head)
    (finding,) = check_contrast(pet, mr_of(tissue, T1, bias))
    assert finding.code == "mr.plausible"


@both
@pytest.mark.parametrize("bias", [0.0, -0.3], ids=["even", "bright centre"])
@pytest.mark.parametrize("contrast", sorted(CONTRASTS))
def test_other_contrasts_are_doubted(head, contrast, bias):
    pet, tissue = finer(head)
    (finding,) = check_contrast(pet, mr_of(tissue, CONTRASTS[contrast], bias))
    assert finding.code == "mr.not_t1"


@pytest.mark.parametrize(
    ("scalp", "skull"), [(0.0, BONE), (0.9, BONE), (0.2, SOFT)], ids=["cold scalp", "hot scalp", "no skull"]
)
def test_the_cortex_is_found_where_either_image_shows_it(scalp, skull):
    side = 4.0
    radius = np.sqrt(sum(((each - 23.5) * side) ** 2 for each in np.indices((48, 48, 48))))
    tissue = np.select([radius < 55, radius < 65, radius < 76, radius < 88], [WHITE, GREY, skull, SOFT], AIR)
    uptake = np.array((0.0, scalp, 0.05, 0.3, 1.0, 0.6, 0.6))[tissue]
    pet = scan(ndimage.gaussian_filter(uptake, 6 / 2.35 / side), side)
    for levels, code in ((T1, "mr.plausible"), *((each, "mr.not_t1") for each in CONTRASTS.values())):
        assert check_contrast(pet, mr_of(tissue, levels, 0.0, side))[0].code == code


# -- noise


@both
def test_level_outside_does_not_contradict_a_dose_inside(head):
    level = scan(HEADS[f"pet_{head}"]).noise_level
    fit = {"weights": [0.0], "offset": float(np.log(11)), "answers": [1.0, 20.0], "right": 0.5, "factor": 2.0}
    known = {"levels": {"1/4": [0, 0, 0], "1/20": [0, 0, 0]}, "range": [2 * level, 9 * level], "dose_fit": fit}
    finding = judge_noise(level, np.zeros(1), {NOISE_RANGE: known})[0]
    assert finding.code == "noise.level_outside" and finding.values["verdict"] == OUTSIDE and finding.is_warning
    assert "1/11" in sentence(finding) and "anything" not in sentence(finding)
    inside = judge_noise(3 * level, np.zeros(1), {NOISE_RANGE: known})[0]
    assert inside.values["verdict"] == INSIDE and not inside.is_warning


# -- the experiment


@pytest.fixture(scope="module")
def balls(tmp_path_factory) -> Path:
    """Two anatomies of nested balls with a T1, 4 mm voxels, named as the real ones are."""
    nibabel = pytest.importorskip("nibabel")
    folder = tmp_path_factory.mktemp("anatomy")
    (folder / "ixi").mkdir()
    (folder / "ixi_labels.csv").write_text("label,name,tissue\n2,white,wm\n3,cortex,gm\n")
    axes = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in (46, 54, 50)], indexing="ij"))
    for name in ("one", "two"):
        r = np.sqrt((axes**2).sum(0))
        labels = np.select([r < 13, r < 17], [2, 3], 0).astype(np.int16)
        t1 = np.select([r < 13, r < 17, r < 18, r < 19, r < 21], [100, 70, 30, 10, 60], 0).astype(np.int16)
        for kind, values in (("labels", labels), ("T1", t1)):
            nibabel.save(
                nibabel.Nifti1Image(values, np.diag([4.0, 4.0, 4.0, 1.0])), folder / f"ixi/{name}_{kind}.nii.gz"
            )
    return folder


@pytest.mark.slow
def test_experiment_tries_every_check_on_every_head(balls, monkeypatch):
    few = {"counting": HeadSet(3, ("training",), ("ixi/one", "ixi/two"))}
    for module in (experiment, varied):
        monkeypatch.setattr(module, "head_sets", lambda: few)
    # voxels as coarse as those of the anatomies: what is counted is tried, not how well it is found
    monkeypatch.setattr(varied, "SPACING_MM", (4.0, 4.0))
    bench = Bench((), SimpleNamespace(metadata=read_metadata(find_model("brain"))))
    counts, scores = experiment.run(bench, str(balls), heads=2).tables
    rows = {(check, case): (found, in_vain) for check, case, found, in_vain in counts.rows}
    checks = {name for name, _ in trials.PREFIXES.values()}
    for check in checks:
        right = [found for (name, _), (found, _) in rows.items() if name == check and found]
        wrong = [in_vain for (name, _), (_, in_vain) in rows.items() if name == check and in_vain]
        assert right and wrong, check
        assert {cell.split()[2] for cell in right + wrong} <= {"1", "2"}
    assert {row[0] for row in scores.rows} > checks
    assert rows[trials.MISALIGNED, "10 mm, 5 degrees"][0].startswith("2 of 2"), "a check that finds nothing is none"


def test_experiment_needs_the_anatomies_of_its_set(tmp_path):
    bench = Bench((), SimpleNamespace(metadata=read_metadata(find_model("brain"))))
    with pytest.raises(InputError, match=r"lacks '(ixi|synthseg)/"):
        experiment.run(bench, str(tmp_path))
    with pytest.raises(InputError, match="no set of heads 'other'"):
        experiment.run(bench, str(tmp_path), part="other")


@pytest.mark.parametrize(
    ("options", "words"),
    [("{}", "'anatomy' is missing"), ("{anatomy: a, heads: 0}", "'heads' is 0"), ("{anatomy: 3}", "must be text")],
)
def test_wrong_options_of_the_experiment_are_one_sentence(tmp_path, options, words):
    path = tmp_path / "heads.yaml"
    path.write_text(f"model: brain\noutput: out\ndevice: cpu\nexperiments: {{heads: {options}}}\n")
    with pytest.raises(InputError, match=words):
        run_evaluation(read_config(path))


def test_sets_of_heads_share_neither_anatomies_nor_seeds():
    sets = varied.head_sets()
    names = [name for each in sets.values() for name in each.anatomies]
    assert len(names) == len(set(names)) == 100 and all(len(each.anatomies) >= 30 for each in sets.values())
    assert len({each.seed for each in sets.values()}) == len(sets)
    assert "report" not in sets["choosing"].scanners, "no choice may be made on the families to report on"


def test_interval_is_that_of_wilson():
    assert experiment.share_text(2, 100) == "2 of 100 (2.0 %; 0.6 to 7.0 %)"
    assert experiment.share_text(0, 0) == ""
