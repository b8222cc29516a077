"""A second evaluation of the network, on the PET mixed with the first estimate."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import numpy as np
import pytest
from tiny_model import TINY, save_tiny_model, tiny_metadata

from CSRDDenoiseLib.errors import InputError, ModelError
from CSRDDenoiseLib.infer import speed
from CSRDDenoiseLib.infer.boosting import boosted_condition
from CSRDDenoiseLib.infer.sampling import ResidualSamples, sample_residual
from CSRDDenoiseLib.model.bundle import Model, load_model
from CSRDDenoiseLib.model.metadata import CHANNELS, BoostMetadata, DeviationMetadata
from CSRDDenoiseLib.prepare.scheme import Condition, make_condition
from CSRDDenoiseLib.progress import Progress, Reporter
from CSRDDenoiseLib.research.training.export import export_model
from CSRDDenoiseLib.research.training.loop import TrainingRun
from CSRDDenoiseLib.scan import Scan
from CSRDDenoiseLib.settings import DenoiseSettings

BANDS, SPACING = "noise-bands", (2.0, 2.0, 2.0)
BOOST = BoostMetadata(share=0.7, noise=(0.01, 0.02))
WIDER = {**TINY, "in_channels": 12}
DRAWS = DeviationMetadata({**WIDER, "in_channels": 13, "widths": [8]}, (0.1, 0.7, -0.2), 0.2, 0.02, 2.0)
SETTINGS = DenoiseSettings("mean", 1, 1, seed=7, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    changes = {"normalisation": BANDS, "channels": CHANNELS[BANDS], "mean_from": "zero"}
    folder = tmp_path_factory.mktemp("boosted") / "model"
    return load_model(save_tiny_model(folder, architecture=WIDER, deviation=DRAWS, boost=BOOST, **changes))


@pytest.fixture(scope="module")
def scan() -> Scan:
    """A noisy ball."""
    line = np.linspace(-1, 1, 48) ** 2
    ball = (line[:, None, None] + line[:, None] + line < 0.7).astype(np.float32)
    noisy = ball * np.random.default_rng(0).normal(1, 0.3, ball.shape)
    return Scan.of_array((500 * noisy).astype(np.float32), SPACING)


@pytest.fixture(scope="module")
def condition(scan: Scan) -> Condition:
    return make_condition(BANDS, scan, (scan.pet > 200).astype(np.float32))


def sampled(model: Model, channels: object, head: np.ndarray, settings: DenoiseSettings = SETTINGS) -> ResidualSamples:
    return sample_residual(model, channels, head, settings, Reporter(None, {"sample": 1}))


def with_boost(model: Model, boost: Optional[BoostMetadata]) -> Model:
    return replace(model, metadata=replace(model.metadata, boost=boost))


def test_the_second_evaluation_is_that_of_the_mixture_taken_for_a_scan(model: Model, scan: Scan, condition: Condition):
    once = sampled(with_boost(model, None), condition.channels, scan.head.mask)
    mixed = Scan(scan.pet + np.float32(BOOST.share * condition.scale) * once.mean, scan.grid, scan.head)
    again = make_condition(BANDS, mixed, (scan.pet > 200).astype(np.float32))
    second = sampled(with_boost(model, None), again.channels, scan.head.mask)
    expected = mixed.pet + second.mean * np.float32(again.scale) - scan.pet
    found = sampled(model, condition.channels, scan.head.mask)
    np.testing.assert_allclose(found.mean * condition.scale, expected, atol=2e-3 * np.abs(expected).max())
    assert (once.evaluations, found.evaluations) == (1, 2)
    assert np.abs(found.mean - once.mean).max() > 0.1 * np.abs(once.mean).max()


def test_the_mixture_of_an_estimate_without_noise_has_less_of_it(model: Model, scan: Scan, condition: Condition):
    ball = (scan.pet > 0).astype(np.float32) * 500
    mean = (ball - scan.pet) / np.float32(condition.scale)
    second = boosted_condition(condition.channels, mean, scan.head.mask, model.metadata)
    np.testing.assert_allclose(second.channels[1] * scan.brain_mean, 0.3 * scan.pet + 0.7 * ball, atol=0.1)
    unit = model.metadata.channels.index("log_unit")
    change = float(second.channels[unit].flat[0] - condition.channels[unit].flat[0])
    assert second.unit == pytest.approx(np.exp(change), rel=1e-5) and 0.2 < second.unit < 0.5
    for name, before, after in zip(model.metadata.channels, condition.channels, second.channels):
        assert (before is after) == (name != "low_dose" and not name.startswith("log_"))


def test_an_estimate_that_changes_nothing_leaves_the_condition_as_it_is(model: Model, scan: Scan, condition: Condition):
    nothing = np.zeros(scan.pet.shape, np.float32)
    second = boosted_condition(condition.channels, nothing, scan.head.mask, model.metadata)
    assert second.unit == 1.0
    for before, after in zip(condition.channels, second.channels):
        np.testing.assert_array_equal(before, after)


def test_a_region_without_a_bright_part_is_described_by_the_whole_of_it(model: Model, scan: Scan, condition: Condition):
    cold = np.zeros(scan.pet.shape, bool)
    cold[2:6, 2:6, 2:6] = True
    mean = np.random.default_rng(1).normal(0, 1, scan.pet.shape).astype(np.float32)
    second = boosted_condition(condition.channels, mean, cold, model.metadata)
    assert np.isfinite(second.unit) and second.unit > 0


def test_the_spread_is_that_of_draws_about_the_first_estimate(model: Model, scan: Scan, condition: Condition):
    draws = replace(SETTINGS, sampler="dpmpp", steps=3, samples=2)
    once, found = (
        sampled(each, condition.channels, scan.head.mask, draws) for each in (with_boost(model, None), model)
    )
    np.testing.assert_array_equal(once.std, found.std)
    alone = sampled(model, condition.channels, scan.head.mask)
    np.testing.assert_array_equal(found.mean, alone.mean)
    assert (once.evaluations, found.evaluations) == (5, 6)


def test_patches_give_about_what_the_whole_gives(model: Model, scan: Scan, condition: Condition):
    whole = sampled(model, condition.channels, scan.head.mask)
    parts = sampled(model, condition.channels, scan.head.mask, replace(SETTINGS, patch_size=32, overlap=0.5))
    assert parts.patch == (32, 32, 32)
    assert np.abs(parts.mean - whole.mean)[scan.head.mask].mean() < 0.1 * np.abs(whole.mean)[scan.head.mask].mean()


def test_progress_goes_on_over_both_evaluations(model: Model, scan: Scan, condition: Condition):
    seen: list[Progress] = []
    sample_residual(model, condition.channels, scan.head.mask, SETTINGS, Reporter(seen.append, {"sample": 1}))
    fractions = [each.fraction for each in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and {each.of for each in seen} == {2}


def test_the_weight_of_the_second_estimate_rises_with_the_logarithm_of_the_noise(
    model: Model, scan: Scan, condition: Condition
):
    unit = condition.scale / scan.brain_mean
    weights = []
    for noise in ((unit * 1.1, unit * 4), (unit / 2, unit * 2), (unit / 3, unit * 0.9)):
        found = sampled(with_boost(model, BoostMetadata(0.7, noise)), condition.channels, scan.head.mask)
        weights.append((round(found.boost, 6), found.evaluations))
    assert weights == [(0.0, 1), (0.5, 2), (1.0, 2)]
    once, half, whole = (
        sampled(each, condition.channels, scan.head.mask).mean
        for each in (with_boost(model, None), with_boost(model, BoostMetadata(0.7, (unit / 2, unit * 2))), model)
    )
    np.testing.assert_allclose(half, (once + whole) / 2, atol=1e-5)


def test_only_a_scheme_that_describes_the_noise_can_be_boosted():
    with pytest.raises(ModelError):
        tiny_metadata(boost=BOOST)
    with pytest.raises(ModelError):
        BoostMetadata(share=1.0, noise=(0.1, 0.2))
    with pytest.raises(ModelError):
        BoostMetadata(share=0.7, noise=(0.2, 0.2))


def test_the_estimate_of_the_time_knows_of_the_second_evaluation(model: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speed, "time_of_network", lambda model, side: speed.NetworkTime(preparing=1.0, evaluating=3.0))
    known = [
        speed.device_speed(each, "cpu", "tiny", 16)["voxels_per_second"] for each in (with_boost(model, None), model)
    ]
    assert known == [1 / 4, 1 / 8]


def test_a_training_refuses_a_boost_that_its_model_cannot_have(training_config):
    with pytest.raises(InputError):
        replace(training_config, boost=BOOST)


@pytest.mark.slow
def test_a_training_hands_its_boost_to_the_model(banded, tmp_path):
    config = replace(banded, boost=BOOST, steps=1, doses=(1 / 4, 1 / 8))
    TrainingRun(config).run()
    assert export_model(config, tmp_path / "model").boost == BOOST
