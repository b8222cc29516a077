"""Measured pairs: their noisy full dose leads to the noise-free estimate, at every noise that training gives them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from measured_pairs import NOISE, fill_pool, noisy_pair

from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.training.loop import TrainingRun, pull_towards
from CSRDDenoiseLib.research.training.measured import MeasuredPair, MeasuredPool, phantom_of_pair
from CSRDDenoiseLib.research.training.patches import PatchSource

SPACING = 5.0


@pytest.fixture
def pool(tmp_path):
    fill_pool(tmp_path / "pairs", 2)
    return MeasuredPool(tmp_path / "pairs", (0, 1), SPACING, "noise-bands", "noise-free")


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_what_a_pair_leads_to_has_noise_independent_of_the_low_dose(pool, scale):
    clean, pair = noisy_pair(seed=0)
    example = pool.load(0, 0.25)
    target, low, weight = example.at_noise(pair.full, pair.low, scale)
    inside = clean > 0.5
    noise, left = (target - clean)[inside], (low - clean)[inside]
    assert abs(np.corrcoef(noise, left)[0, 1]) < 0.02
    dose = 1 - weight**0.5
    assert left.std() == pytest.approx(NOISE / dose**0.5, rel=0.03)
    assert noise.std() == pytest.approx(NOISE / (1 - dose) ** 0.5, rel=0.03)
    np.testing.assert_allclose(dose * low + (1 - dose) * target, pair.full, atol=1e-5)


def test_training_towards_the_rest_is_training_towards_the_noise_free_image():
    """The best linear estimate from a noisy low dose is the same for both targets, and another for the full dose."""
    slopes = {}
    rng, dose = np.random.default_rng(1), 0.25
    clean = rng.standard_normal(200_000)
    own, rest = (rng.standard_normal(clean.size) * 0.5 / f**0.5 for f in (dose, 1 - dose))
    low, full = clean + own, clean + dose * own + (1 - dose) * rest
    targets = {"clean": clean, "full": full, "rest": (full - dose * low) / (1 - dose)}
    for name, target in targets.items():
        slopes[name] = np.dot(low, target) / np.dot(low, low)
    assert slopes["rest"] == pytest.approx(slopes["clean"], abs=0.005)
    assert slopes["full"] == pytest.approx(dose + (1 - dose) * slopes["clean"], abs=0.005)
    assert slopes["full"] - slopes["clean"] > 0.05


def test_a_half_leads_to_the_other_half_exactly(tmp_path):
    """Of two halves, one the low dose and their mean the full dose, what is trained towards is the other half."""
    clean = noisy_pair()[0]
    rng = np.random.default_rng(2)
    # noise that goes with the signal, and whose variance no formula knows
    halves = [clean * (1 + 0.1 * (rng.random(clean.shape) ** 2 - 1 / 3)) for _ in range(2)]
    mean = (halves[0] + halves[1]) / 2
    MeasuredPool.add(tmp_path, 0, MeasuredPair(halves[0], mean, None, 0.5, SPACING))
    example = MeasuredPool(tmp_path, (0,), SPACING, "noise-bands", "noise-free").load(0, 0.5)
    target, low, weight = example.at_noise(mean, halves[0], 1.0)
    np.testing.assert_allclose(target, halves[1], atol=1e-5)
    np.testing.assert_array_equal(low, halves[0])
    inside = clean > 0.5
    noise, own = (target - clean)[inside], (low - clean)[inside]
    assert weight == pytest.approx(0.25) and abs(np.corrcoef(noise, own)[0, 1]) < 0.02
    # the loss has its least where it is least towards the noise-free image: for each factor, both differ by a constant
    losses = [
        [float(np.mean((factor * low - goal)[inside] ** 2)) for factor in (0.8, 1.0, 1.2)] for goal in (target, clean)
    ]
    assert np.ptp(np.subtract(*losses)) < 0.02 * np.ptp(losses[0])


def test_the_noise_of_a_pair_is_that_of_its_low_dose_without_the_noise_free_image():
    clean, pair = noisy_pair(dose=0.25, seed=3)
    phantom = phantom_of_pair(pair)
    brain = float(pair.full.max()) and phantom.facts["scales"][0]
    found = phantom.facts["noise"][0] * brain
    known = np.sqrt(np.mean((pair.low - clean) ** 2))
    level = float(np.mean(pair.full[clean > 0.5]))
    assert found == pytest.approx(known / level, rel=0.1)


def test_a_pair_may_have_any_unit_and_no_mr(tmp_path):
    plain, scaled = (phantom_of_pair(noisy_pair(scale=scale)[1]) for scale in (1.0, 3e4))
    np.testing.assert_allclose(plain.volumes[0], scaled.volumes[0], atol=2e-3)
    without = phantom_of_pair(replace(noisy_pair()[1], mr=None))
    assert without.volumes[2].max() == 0 and (without.volumes[5] == 1).all()


@pytest.mark.parametrize("dose", [0.0, 0.95, 1.0])
def test_a_dose_that_leaves_nothing_to_learn_from_is_rejected(dose):
    with pytest.raises(InputError, match=r"below 0\.9"):
        phantom_of_pair(replace(noisy_pair()[1], dose=dose))


def test_a_pair_without_a_head_is_rejected():
    pair = noisy_pair()[1]
    with pytest.raises(InputError, match="low dose"):
        phantom_of_pair(replace(pair, low=np.zeros_like(pair.low)))


def test_pairs_are_trained_on_with_the_loop_of_simulated_phantoms(pool, banded):
    config = replace(banded, output=pool.folder / "run", steps=2, regression_share=1.0, validation_phantoms=0)
    run = TrainingRun(config, pools=(pool, pool))
    assert run.run().step == 2
    batch = PatchSource(pool, replace(config, lesions=0), 0.9, 40.0).batch(0, 2)
    assert torch.isfinite(batch.residual).all() and float(batch.weight.max()) > 0


def test_a_pull_moves_the_weights_towards_their_start_by_a_share():
    layer = torch.nn.Linear(3, 2)
    start = [torch.zeros_like(parameter) for parameter in layer.parameters()]
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    pull_towards(layer, start, 0.25)
    for old, new in zip(before, layer.parameters()):
        torch.testing.assert_close(new, 0.75 * old)
    pull_towards(layer, [], 0.25)
    for old, new in zip(before, layer.parameters()):
        torch.testing.assert_close(new, 0.75 * old)
