"""Trainings that are compared: a scanner family left out, networks head to head; and another projector."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from phantom_pool import training_file, write_phantom

from CSRDDenoiseLib.atomic import write_json
from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.configuration import read_placed
from CSRDDenoiseLib.devices import processor_name
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.model.edm import Preconditioned, Schedule
from CSRDDenoiseLib.research.evidence import head_to_head, left_out, projector_check
from CSRDDenoiseLib.research.evidence.head_to_head import HeadToHead, run_head_to_head
from CSRDDenoiseLib.research.evidence.left_out import LeftOut, run_left_out
from CSRDDenoiseLib.research.evidence.projector_check import ProjectorCheck, compare, projector_page
from CSRDDenoiseLib.research.evidence.short_runs import Estimator, changed_config
from CSRDDenoiseLib.research.simulation.families import draw_from_families
from CSRDDenoiseLib.research.simulation.projector import make_projectors
from CSRDDenoiseLib.research.simulation.scanner import Scanner
from CSRDDenoiseLib.research.training.loop import TrainingRun
from CSRDDenoiseLib.research.training.pool import Pool, pool_of
from CSRDDenoiseLib.research.training.readiness import claim_pool
from CSRDDenoiseLib.research.training.simulators import Simulators, simulate_phantoms
from CSRDDenoiseLib.research.training.split import load_split

TINY = {
    "architecture": {"type": "ResidualUNet3d", "widths": [8, 8], "blocks": [1, 1], "embedding": 16, "in_channels": 12},
    "patch": 16,
    "batch": 1,
    "precision": "float32",
    "regression_share": 1.0,
    "simulators": 0,
    "validation_phantoms": 0,
    "pool_size": 1,
    "pool_start": 1,
}
FAMILIES = ("report:PET/MR", "report:digital TOF")


@pytest.fixture
def training(tmp_path):
    path = training_file(tmp_path)
    (tmp_path / "data").mkdir()
    split = {"train": ["synthseg/a"], "validation": ["synthseg/b"], "test": ["synthseg/c"]}
    (tmp_path / "data" / "split.json").write_text(json.dumps(split), encoding="utf-8")
    return path


def test_changes_of_a_training_configuration_are_checked_as_a_file_is(training):
    changed = changed_config(training, {"doses": ["1/5"], "steps": 7})
    assert changed.doses == (0.2,) and changed.steps == 7 and changed.target == "noise-free"
    assert changed.anatomy == (training.parent / "anatomy").resolve()
    with pytest.raises(InputError, match="stepps"):
        changed_config(training, {"stepps": 7})


def test_a_family_is_drawn_by_its_name():
    names = {draw_from_families("report:digital TOF", np.random.default_rng(seed))[0] for seed in range(5)}
    assert names == {"digital TOF"}
    with pytest.raises(KeyError):
        draw_from_families("report:analogue TOF", np.random.default_rng(0))


def test_a_family_that_is_not_known_is_named(tmp_path):
    with pytest.raises(InputError, match="PET/CD"):
        LeftOut(tmp_path, tmp_path, families=("report:PET/CD", "report:PET/MR"))
    with pytest.raises(InputError, match="two"):
        LeftOut(tmp_path, tmp_path, families=("report:PET/MR",))


@pytest.mark.slow
def test_each_family_is_left_out_once_and_a_run_goes_on(training, tmp_path, capsys):
    path = tmp_path / "scanners.yaml"
    path.write_text(
        json.dumps(
            {
                "training": training.name, "output": "out", "page": "page.md", "families": FAMILIES,
                "phantoms": 1, "test_phantoms": 1, "steps": 2, "changes": TINY,
            }
        ),
        encoding="utf-8",
    )  # fmt: skip
    config = read_placed(path, LeftOut)
    base = changed_config(training, TINY)
    for number in range(2):
        for pool in left_out._pools(config, base, number):
            assert pool.settings["families"] == FAMILIES[number]
            claim_pool(pool)
            write_phantom(pool)
    assert main(["experiment", "scanners", str(path)]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results) == {"all families", *FAMILIES} and set(results["all families"]) == set(FAMILIES)
    assert set(results[FAMILIES[0]]) == {FAMILIES[0]}
    assert "digital TOF" in (tmp_path / "page.md").read_text(encoding="utf-8")
    logs = {path: path.read_text() for path in (tmp_path / "out" / "models").glob("*/log.jsonl")}
    assert len(logs) == 3
    run_left_out(config)
    assert all(path.read_text() == text for path, text in logs.items()), "what is done is not trained again"
    assert len(list((tmp_path / "out" / "pools").glob("*/pool.json"))) == 4


def test_results_of_families_left_out_with_other_settings_are_refused(training, tmp_path, monkeypatch):
    (tmp_path / "anatomy").mkdir()
    config = LeftOut(training, tmp_path / "out", families=FAMILIES, steps=300, changes=TINY)
    results = {name: {family: {} for family in FAMILIES} for name in (left_out.ALL, *FAMILIES)}
    monkeypatch.setattr(left_out, "simulate_phantoms", lambda *args: write_json(tmp_path / "out/results.json", results))
    assert run_left_out(config) == results and run_left_out(config) == results
    for change, words in (
        ({"steps": 1500}, "begun with steps 300, and this run has 1500"),
        ({"phantoms": 6}, "phantoms 4"),
        ({"test_phantoms": 3}, "test_phantoms 2"),
        ({"changes": {**TINY, "batch": 2}}, "changes"),
        ({"families": FAMILIES[::-1]}, "families"),
    ):
        with pytest.raises(InputError, match=words):
            run_left_out(replace(config, **change))
    with training.open("a", encoding="utf-8") as file:
        file.write("lesions: 3\n")
    with pytest.raises(InputError, match="recipe_sha256"):
        run_left_out(config)
    (tmp_path / "out" / "made-with.json").unlink()
    with pytest.raises(InputError, match=r"no made-with\.json.*remove this file"):
        run_left_out(config)


@pytest.mark.slow
def test_phantoms_are_simulated_by_several_processes_and_none_twice(tmp_path):
    write_phantom(Drawn(tmp_path), 1)
    there = Drawn(tmp_path).path(1).stat().st_mtime_ns
    simulate_phantoms([(Drawn(tmp_path), phantom) for phantom in range(3)], processes=2)
    assert Drawn(tmp_path).available() == 3 and Drawn(tmp_path).path(1).stat().st_mtime_ns == there
    without = Pool(tmp_path / "none", None, (), (0.1,), 2.0, 0)
    with pytest.raises(InputError, match="anatomies"):
        simulate_phantoms([(without, 0), (without, 1)])


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe stands in for the process")
def test_a_simulator_that_ran_out_of_memory_ends_the_wait():
    sentinel, other = os.pipe()
    os.close(other)
    simulators = Simulators([], 0)
    simulators._processes = [SimpleNamespace(sentinel=sentinel, exitcode=-9, is_alive=lambda: False)]
    with pytest.raises(InputError, match="signal 9, as when memory runs out"):
        simulators.wait()
    os.close(sentinel)


class Drawn(Pool):
    """A pool whose phantoms are drawn, not simulated."""

    def __init__(self, folder):
        super().__init__(folder, None, (), (0.1,), 2.0, 0)

    def simulate(self, phantom, device="cpu"):
        write_phantom(self, phantom)


@pytest.mark.slow
def test_networks_are_trained_for_equal_minutes_and_scored(training, tmp_path):
    base = changed_config(training, TINY)
    for part in ("train", "test"):
        pool = pool_of(base, part, load_split(base.split_file)[part])
        claim_pool(pool)
        write_phantom(pool)
    naf = {"type": "NafUNet3d", **{name: value for name, value in TINY["architecture"].items() if name != "type"}}
    networks = {"ours": {}, "NAFNet-like": {"architecture": naf}}
    steps = {"NAFNet-like": 2}
    config = HeadToHead(training, tmp_path / "out", tmp_path / "page.md", TINY, networks, steps, (0,), timed_steps=2)
    results = run_head_to_head(config, 0.01)
    assert set(results) == {"ours", "NAFNet-like"}
    for found in results.values():
        assert found["steps"] >= 1 and len(found["rows"]) == 3
        assert processor_name() in found["hardware"] and found["hardware"].endswith("in float32")
        assert all(np.isfinite(row["psnr_clean"]) for row in found["rows"])
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "Head to head" in page and page.index("| ours ") < page.index("| NAFNet-like ")
    drawn, mean = (results["NAFNet-like"][rows] for rows in ("heun_rows", "rows"))
    assert [row["dose"] for row in drawn] == [row["dose"] for row in mean] and results["ours"]["heun_rows"] == []
    assert all(a["psnr_clean"] != b["psnr_clean"] for a, b in zip(drawn, mean))
    assert page.count("| NAFNet-like, Heun, 2 steps |") == len(drawn)
    turned = {name: results[name] for name in reversed(list(results))}
    (tmp_path / "out" / "results.json").write_text(json.dumps({**turned, "of another configuration": {}}))
    (tmp_path / "page.md").unlink()
    run_head_to_head(config, 0.01)
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == page, "nothing is trained again"
    (tmp_path / "out" / "results.json").unlink()
    with pytest.raises(InputError, match="minutes"):
        run_head_to_head(config, 5)


@pytest.fixture
def untrained(training, tmp_path, monkeypatch):
    """A head to head of one network whose training takes no time, and which is done with 120 minutes."""
    monkeypatch.setattr(head_to_head, "_budget", lambda config, own, made_with, device: None)
    monkeypatch.setattr(head_to_head, "_train", lambda *args: {"steps": 7})
    config = HeadToHead(training, tmp_path / "out", common=TINY, networks={"ours": {"batch": 2}}, phantoms=(0,))
    run_head_to_head(config, 120)
    return config


@pytest.mark.parametrize(
    ("change", "minutes", "words"),
    [
        ({}, 5, "'ours' with budget_minutes 120, and this run has 5"),
        ({"phantoms": (0, 1)}, 120, r"'ours' with test_phantoms \[0\]"),
        ({"heun_steps": {"ours": 4}}, 120, "'ours' with heun_steps 0, and this run has 4"),
        ({"networks": {"ours": {"batch": 3}}}, 120, "'ours' with batch 2, and this run has 3"),
        ({"networks": {"ours": {"batch": 2, "seed": 1}}}, 120, "'ours' with seed None, and this run has 1"),
        ({"networks": {"ours": {}}}, 120, "'ours' with batch 2, and this run has 1"),
        ({"common": {**TINY, "milestones": [5]}}, 120, "'ours' with milestones None"),
    ],
)
def test_results_of_a_network_of_other_settings_are_refused(untrained, change, minutes, words):
    with pytest.raises(InputError, match=words):
        run_head_to_head(replace(untrained, **change), minutes)


def test_results_of_a_changed_training_file_are_refused(untrained):
    with untrained.training.open("a", encoding="utf-8") as file:
        file.write("lesions: 3\n")
    with pytest.raises(InputError, match="'ours' with recipe_sha256"):
        run_head_to_head(untrained, 120)


def test_minutes_are_120_where_none_are_given(training, tmp_path, monkeypatch):
    path, given = tmp_path / "compared.json", []
    path.write_text(json.dumps({"training": training.name, "output": "out"}), encoding="utf-8")
    monkeypatch.setattr(head_to_head, "run_head_to_head", lambda config, minutes, device: given.append(minutes) or {})
    for words in (["--minutes", "5"], []):
        assert main(["experiment", "head-to-head", str(path), *words]) == 0
    assert given == [5, 120]


@pytest.mark.parametrize("steps", [{"theirs": 5}, {"ours": 0}])
def test_draws_are_of_a_network_of_the_configuration_and_of_one_step_or_more(tmp_path, steps):
    with pytest.raises(InputError, match="heun_steps"):
        HeadToHead(tmp_path, tmp_path, networks={"ours": {}}, heun_steps=steps)


class OfNormalResiduals(torch.nn.Module):
    """F of residuals that are normal about 0.3 with standard deviation 0.5, the sigma_data of the test."""

    multiple = 4

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, channels, c_noise):
        sigma = (4 * c_noise).exp().reshape(-1, 1, 1, 1, 1)
        return (sigma / (0.5 * (sigma**2 + 0.5**2).sqrt()) * self.mean).expand_as(channels[:, :1])


def test_a_draw_is_the_exact_one_where_residuals_are_normal(training):
    base = changed_config(training, TINY)
    pool = pool_of(base, "test", load_split(base.split_file)["test"])
    claim_pool(pool)
    write_phantom(pool)
    example, schedule = pool.load(0, 0.1), Schedule(0.01, 20.0)
    found = Estimator(Preconditioned(OfNormalResiduals(), 0.5), schedule, "zero", 40, "float32")
    noise = 20 * torch.randn(example.mask.shape, generator=torch.Generator().manual_seed(7)).numpy()
    wanted = 0.3 + (noise - 0.3) * 0.5 / np.hypot(20, 0.5)
    assert found.residual(example, 7) / example.terms.unit == pytest.approx(wanted, abs=0.01)
    mean = replace(found, heun_steps=0).residual(example, 7) / example.terms.unit
    assert mean == pytest.approx(0.3, abs=0.001)


def test_results_of_unknown_settings_are_refused_and_those_of_several_folders_can_be_joined(untrained):
    path = untrained.output / "results.json"
    others = replace(untrained, output=untrained.output / "2", networks={"theirs": {"batch": 4}})
    joined = {**json.loads(path.read_text()), **run_head_to_head(others, 120)}
    path.write_text(json.dumps(joined))
    assert run_head_to_head(replace(untrained, networks={**others.networks, **untrained.networks}), 120) == joined
    path.write_text(json.dumps({"ours": {"steps": 7}}))
    with pytest.raises(InputError, match=r"results\.json' has 'ours' without 'recipe'.*remove '.*results\.json', or"):
        run_head_to_head(untrained, 120)


def test_a_network_that_is_put_before_another_takes_nothing_of_its_run(untrained):
    def folders(config):
        return {name: head_to_head._config_of(config, name).output for name in config.networks}

    first, both = folders(untrained), folders(replace(untrained, networks={"Ours": {}, **untrained.networks}))
    assert both["ours"] == first["ours"] != both["Ours"]
    # it was stopped before its training ended
    write_json(first["ours"] / "budget.json", {"steps": 3, "seconds_per_step": 1.0, "minutes": 120})
    (untrained.output / "results.json").unlink()
    with pytest.raises(InputError, match=r"budget\.json' has 'ours' without 'recipe'.*remove '.*ours-\w+', or"):
        run_head_to_head(untrained, 120)


@pytest.mark.parametrize("device, clock, unit", [("cpu", "process_time", 2), ("cuda", "monotonic", 1)])
def test_a_trial_is_timed_without_its_first_steps(training, tmp_path, monkeypatch, device, clock, unit):
    """Steps of 9, 9, 1 and 1 seconds, of two threads on a processor: sixty of one second are a minute's budget."""
    now = iter([9.0 * unit, 18.0 * unit, 19.0 * unit, 20.0 * unit])
    monkeypatch.setattr(head_to_head, "time", SimpleNamespace(**{clock: lambda: next(now)}))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(TrainingRun, "_step", lambda self, *args: 0.0)
    monkeypatch.setattr(TrainingRun, "run", lambda self: [self._step() for _ in range(self.config.steps)])
    config = HeadToHead(training, tmp_path / "out", timed_steps=4)
    assert head_to_head._budget(config, changed_config(training, TINY), {"budget_minutes": 1}, device).steps == 60
    with pytest.raises(InputError, match="timed_steps"):
        HeadToHead(training, tmp_path / "out", timed_steps=1)


def test_an_experiment_that_trains_asks_for_its_device_first(training, tmp_path, capsys):
    path = tmp_path / "compared.yaml"
    path.write_text(json.dumps({"training": training.name, "output": "out", "networks": {"x": {}}}), encoding="utf-8")
    assert main(["experiment", "head-to-head", str(path), "--device", "cuda:99"]) != 0
    assert "cuda:99" in capsys.readouterr().err and not (tmp_path / "out").exists()


def head() -> tuple[np.ndarray, np.ndarray]:
    """Activity and tissue of a small head, (D, n, n)."""
    line = np.arange(32) - 15.5
    radius = np.sqrt(line[:, None] ** 2 + line**2)
    tissue = np.repeat(np.select([radius < 4, radius < 8, radius < 11], [3, 5, 4], 0)[None], 6, axis=0)
    return np.select([tissue == 3, tissue == 5, tissue == 4], [0.2, 0.4, 1.0], 0.0).astype(np.float32), tissue


def test_the_simulators_own_projector_deviates_by_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(projector_check, "rotate_and_sum", make_projectors)
    scanner = Scanner(spacing=4.0, iterations=1, subsets=2, angles=16, counts=1e6, model_resolution=False)
    found = compare(*head(), ProjectorCheck(tmp_path, tmp_path, scanner=scanner, draws=2))
    assert found["views"] == found["bins"] == found["deviation"] == 0 and set(found["means"].values()) == {0}
    assert set(found["noise"]) == {0}
    assert "not reached" not in projector_page(found)
    monkeypatch.setattr(
        projector_check, "rotate_and_sum", lambda *sizes: [Brighter(p) for p in make_projectors(*sizes)]
    )
    brighter = compare(*head(), ProjectorCheck(tmp_path, tmp_path, scanner=scanner, draws=2))
    assert brighter["views"] == pytest.approx(5, abs=0.01) and "not reached" in projector_page(brighter)


class Brighter:
    """A projector whose projections are 5 % too large."""

    def __init__(self, projector):
        self.size, self.angles, self._projector = projector.size, projector.angles, projector

    def forward(self, image):
        return 1.05 * self._projector.forward(image)

    def back(self, sinogram):
        return self._projector.back(sinogram)


def test_the_projector_of_pytomography_is_called_as_ours(monkeypatch):
    """Its own classes are replaced: the views' order, the angles and the layout are what is checked here."""
    from CSRDDenoiseLib.research.evidence import rotate_and_sum

    seen = []

    class Matrix:
        def __init__(self, objects, projections, size, views):
            self.views = views

        def forward(self, volume):
            seen.append(tuple(volume.shape))
            return torch.stack([volume.sum(0) * number for number in range(1, len(self.views.angles) + 1)])

        def backward(self, views):
            return views.sum(0)[:, None].expand(-1, views.shape[1], -1)

    views = lambda shape, sides, angles: SimpleNamespace(angles=angles)  # noqa: E731
    for name, values in {
        "pytomography": {},
        "pytomography.metadata": {},
        "pytomography.projectors": {},
        "pytomography.metadata.SPECT": {"SPECTObjectMeta": lambda *sides: None, "SPECTProjMeta": views},
        "pytomography.projectors.SPECT": {"SPECTSystemMatrix": Matrix},
    }.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(rotate_and_sum, "require", lambda name: None)
    first, second = rotate_and_sum.rotate_and_sum(4, 6, 2)
    assert first.angles == second.angles == 3 and second._theta == [300.0, 0.0, 60.0]
    image = torch.arange(32.0).reshape(16, 2)
    projected = first.forward(image)
    assert projected.shape == (12, 2) and seen == [(4, 4, 2)]
    torch.testing.assert_close(projected[4:8], 2 * image.reshape(4, 4, 2).sum(0))
    assert first.back(projected).shape == (16, 2)
