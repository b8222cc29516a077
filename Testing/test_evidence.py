"""The evidence: what is measured on a phantom whose truth is known, what is kept of a run, and the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from phantom_pool import SPACING, training_file, write_phantom
from scipy import ndimage
from tiny_model import TINY, save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.metadata import CHANNELS
from CSRDDenoiseLib.research.evidence.blocks import replace_block
from CSRDDenoiseLib.research.evidence.config import EvidenceConfig
from CSRDDenoiseLib.research.evidence.filters import best_filter, filter_image, filter_scan
from CSRDDenoiseLib.research.evidence.quantities import blobs, image_scores, imprint, lesion_rows, region_biases
from CSRDDenoiseLib.research.evidence.regions import bias_of
from CSRDDenoiseLib.research.evidence.run import _Scans
from CSRDDenoiseLib.research.evidence.scenes import brain_of, lesion_scene, plain_scene, with_spheres
from CSRDDenoiseLib.research.evidence.summary import interpolation_errors, summarise
from CSRDDenoiseLib.research.training.config import load_config
from CSRDDenoiseLib.research.training.curves import dose_gain, gain_text, make_scene, score
from CSRDDenoiseLib.research.training.pool import pool_of


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = pool_of(load_config(training_file(tmp_path_factory.mktemp("evidence"))), "test")
    write_phantom(pool)
    return pool


@pytest.fixture(scope="module")
def example(pool):
    return pool.load(0, 1 / 10)


@pytest.fixture(scope="module")
def brain(example):
    return brain_of(example, SPACING)


@pytest.fixture
def scene(example, brain):
    return plain_scene(example, 1 / 10, brain)


def test_lesions_of_every_size_are_drawn_hot_and_cold_and_the_truth_scores_none(example, brain):
    scene, lesions = lesion_scene(example, 1 / 10, brain, 0)
    assert {lesion.radius_mm for lesion in lesions} >= {10.0, 4.0} and {lesion.hot for lesion in lesions} == {
        True,
        False,
    }
    halved = scene.noise_free.copy()
    for box, inside, ring in scene.places:
        halved[box][inside] = (scene.noise_free[box][inside] + scene.noise_free[box][ring].mean()) / 2
    rows = lesion_rows({"truth": scene.noise_free, "halved": halved}, scene, lesions)
    assert len(rows) == 2 * len(lesions)
    for row in rows:
        if row["image"] == "truth":
            assert [row[key] for key in ("mean", "max", "peak", "contrast")] == [1.0] * 4
        else:
            assert row["contrast"] == pytest.approx(0.5, abs=1e-3)
    hot = [row["mean"] for row in rows if row["hot"] and row["image"] == "halved"]
    cold = [row["mean"] for row in rows if not row["hot"] and row["image"] == "halved"]
    assert max(hot) < 1 < min(cold)


def test_regions_show_a_bias_and_the_ratio_of_grey_and_white_matter(scene, brain):
    assert len(brain.regions) == 16
    brighter = np.where(brain.grey, np.float32(1.1), np.float32(1)) * scene.noise_free
    found = region_biases({"truth": scene.noise_free, "grey": brighter}, scene, brain)
    assert [found["truth"][key] for key in ("brain", "regions", "largest", "grey_over_white")] == [0] * 4
    assert region_biases({"input": scene.low_dose}, scene, brain)["input"]["to_input"] == 0 < found["truth"]["to_input"]
    assert found["grey"]["regions"] == pytest.approx(5, abs=0.01)
    assert {name: round(error) for name, error in found["grey"]["signed"].items()} == {
        name: 10 if name.startswith("grey") else 0 for name in brain.regions
    }
    assert found["grey"]["largest"] == pytest.approx(10, abs=0.01)
    assert found["grey"]["grey_over_white"] == pytest.approx(10, abs=0.01)


def test_the_bias_is_what_is_left_of_signed_errors_when_scans_are_averaged():
    first, second = ({"a": 2.0, "b": 1.0, "c": 5.0}, {"a": -2.0, "b": 2.0})
    found = bias_of([first, second])
    # a: nothing left; b: 1.5; c is in one scan alone
    assert found.size == pytest.approx((0 + 1.5 + 5) / 3) and (found.largest, found.region) == (5.0, "c")
    assert found.deviation == pytest.approx(((8 / 2 + 0.5 / 2) / 2) ** 0.5)
    assert bias_of([{"a": -3.0}]).largest == -3.0 and np.isnan(bias_of([first]).deviation)


def test_regions_lie_where_their_names_say(brain):
    for name, mask in brain.regions.items():
        z, y, x = (np.mean(index) - (size - 1) / 2 for index, size in zip(np.nonzero(mask), mask.shape))
        tissue, up, back, left = name.split()
        assert (tissue == "grey") == bool(brain.grey[mask].all())
        assert (up == "upper", back == "back", left == "left") == (z > 0, y > 0, x > 0)


@pytest.mark.slow
def test_the_image_of_a_best_filter_is_made_again(example):
    scene = make_scene(example, 1 / 10, SPACING, 0)
    found = filter_scan(scene, ["MR-guided filter"])
    by_parameter = next(name for name in found["curves"] if ", by " in name)
    for name in ("Gaussian", by_parameter, "tissue regression, maps 7 mm, box 5"):
        point = found["curves"][name][-1]
        assert score(filter_image(scene, name, point["at"]), scene).error == pytest.approx(point["error"], abs=1e-3)
    assert filter_image(scene, by_parameter, 0.0) is scene.low_dose
    top = max(each["psnr_full"] for each in found["best"].values())
    curve, at = best_filter(found)
    point = next(each for each in found["curves"][curve] if each["at"] == at)
    assert point["psnr_full"] == pytest.approx(top, abs=1e-3)


def test_an_imprint_is_a_share_of_the_contrast_of_grey_and_white_matter(scene, brain):
    spheres = with_spheres(scene, brain, 0)
    drawn = spheres.lesions > 0
    assert (
        drawn.any() and ndimage.binary_dilation(brain.white)[drawn].all() and not np.array_equal(spheres.mr, scene.mr)
    )
    contrast = scene.noise_free[brain.grey].mean() - scene.noise_free[brain.white].mean()
    changed = scene.noise_free + np.float32(0.2 * contrast) * drawn
    found = imprint(scene.noise_free, changed, scene, spheres, brain)
    assert found["mean"] == found["largest"] == found["signed"] == pytest.approx(0.2, abs=1e-3)
    assert found["noise"] == 0
    flat = replace(scene, noise_free=np.ones_like(scene.noise_free))
    assert set(imprint(flat.noise_free, changed, flat, spheres, brain)) == {"grey_less_white"}


def test_blobs_are_counted_against_the_full_dose_and_against_the_images_own_noise(scene):
    noise = scene.full_dose - scene.noise_free
    spot = np.zeros_like(noise)
    spot[tuple(index[0] for index in np.nonzero(scene.calm))] = 50
    found = blobs({"truth": scene.noise_free, "spot": scene.noise_free + spot, "noise": scene.low_dose}, scene)
    assert found["truth"]["of_full"] == 0 < found["spot"]["of_full"]
    assert found["noise"]["of_own"] < found["noise"]["of_full"]


@pytest.mark.slow
def test_filters_leave_the_full_dose_without_a_best_and_name_what_is_not_installed(example, monkeypatch):
    scene = make_scene(example, 1 / 10, SPACING, 0)
    found = filter_scan(scene, ["MR-guided filter"])
    assert set(found["best"]) == {"Gaussian", "MR-guided filter", "Tissue regression"}
    best = found["best"]["Gaussian"]
    assert best["psnr_full"] == max(point["psnr_full"] for point in found["curves"]["Gaussian"])
    assert best["psnr_full"] > image_scores(scene.low_dose, scene, 0.0)["psnr_full"]
    assert found["left_out"] == []
    monkeypatch.setitem(__import__("sys").modules, "bm4d", None)
    assert filter_scan(scene, ["BM4D"])["left_out"] == ["BM4D"]


def filters(error: float) -> dict:
    points = [{"at": 0, "contrast": 1.0, "error": error, "psnr_clean": 1.0}]
    return {"curves": {"Gaussian": points}, "best": {"Gaussian": {"psnr_full": 30.0}}, "left_out": []}


def test_interpolation_between_doses_is_held_against_the_dose_in_between():
    # a power law between 1/20, 1/10 and 1/4, but not on to the full dose, which has 0.5 in place of 1
    errors = {1 / 20: 20**0.5, 1 / 10: 10**0.5, 1 / 4: 2.0}
    scans = [
        {"phantom": 0, "dose": dose, "filters": filters(error), "full_dose_filters": filters(0.5)}
        for dose, error in errors.items()
    ]
    share = np.log(2.5) / np.log(10)
    at_quarter = abs(10**0.5 * (0.5 / 10**0.5) ** share / 2 - 1)
    # 1/20 has no smaller dose beside it
    assert interpolation_errors(scans)["0.8"] == pytest.approx(100 * at_quarter / 2, abs=0.01)


def test_a_dose_gain_outside_of_the_doses_is_a_bound():
    errors = [(1 / 20, 20**0.5), (1 / 10, 10**0.5), (1.0, 1.0)]
    assert dose_gain(2.0, 1 / 10, errors) == (pytest.approx(2.5), "")
    assert dose_gain(0.5, 1 / 10, errors) == (10, ">")
    assert dose_gain(5.0, 1 / 20, errors) == (1, "<")
    assert gain_text(1.0, "<") == "< 1.00" and gain_text(1.0, "") == "1.00"


def test_a_page_keeps_what_other_commands_wrote(tmp_path):
    page = tmp_path / "page.md"
    replace_block(page, "one", "first")
    replace_block(page, "two", "second")
    replace_block(page, "one", "third")
    text = page.read_text(encoding="utf-8")
    assert "first" not in text and text.index("third") < text.index("second")


def test_a_filter_that_is_not_known_is_named(tmp_path):
    with pytest.raises(InputError, match="Gausian"):
        EvidenceConfig(training=tmp_path, output=tmp_path, filters=("Gausian",))


def test_scans_measured_with_other_filters_or_of_other_phantoms_are_not_taken(pool, tmp_path, monkeypatch):
    def paths(pool=pool, filters=("MR-guided filter", "Total variation")):
        scans = _Scans.of(EvidenceConfig(tmp_path, tmp_path, filters=filters), pool)
        return scans.path(0, 0.1, "model"), scans.filters(0, 0.1), scans.best_filter(0, 0.1)

    ours, filters, best = paths()
    assert paths(filters=("Total variation", "MR-guided filter")) == (ours, filters, best)
    fewer = paths(filters=("Total variation",))
    assert fewer[0] == ours and fewer[1] != filters and fewer[2] != best
    for other in ({"spacing": 1.0}, {"first_seed": 7}, {"subjects": ["synthseg/a"]}, {"settings": {"varied": True}}):
        assert all(path.parent != ours.parent for path in paths(replace(pool, **other)))
    # a package that is installed later brings results that were left out
    monkeypatch.setattr("CSRDDenoiseLib.research.evidence.run.runs", lambda name: name == "Total variation")
    assert paths()[1] != filters


@pytest.mark.slow
def test_the_command_measures_what_is_missing_and_writes_the_page(pool, tmp_path, capsys):
    save_tiny_model(
        tmp_path / "model",
        architecture={**TINY, "in_channels": 12, "tissue_sizes": [3]},
        normalisation="noise-bands",
        channels=CHANNELS["noise-bands"],
        target="noise-free",
        sigma_data=0.1,
        sigma_max=2.0,
    )
    config = tmp_path / "evidence.yaml"
    config.write_text(
        f"training: {pool.folder.parent.parent / 'train.yaml'}\noutput: out\npage: page.md\nmodel: model\n"
        "phantoms: [0]\nfilters: [MR-guided filter]\nuncertainty: [0]\ntried: {error: more of everything}\n",
        encoding="utf-8",
    )
    assert main(["experiment", "evidence", str(config)]) == 0
    assert "dose gain" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [scan["dose"] for scan in results["scans"]] == [1 / 4, 1 / 10, 1 / 20]
    assert summarise(results["scans"]) == results["summary"]
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "not reached" in page and "more of everything" in page and "Dose gain" in page
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "scans").glob("*/*.json")}
    assert len(kept) == 3 + 1 + 4 + 3
    assert {len(scan["best_filter"]["regions"]["signed"]) for scan in results["scans"]} == {16}
    rows = re.findall(r"^\| 1/10 \| (?:best filter|input|ours|our estimate) \| .*%?\|$", page, re.M)
    assert len([row for row in rows if "(grey" in row or "(white" in row]) == 4, "the bias, of one scan here"
    next(path for path in kept if path.name.endswith("filters.json")).unlink()
    assert main(["experiment", "evidence", str(config)]) == 0
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "scans").glob("*/*.json")}
    assert len({path for path in kept if again[path] != kept[path]}) == 1
