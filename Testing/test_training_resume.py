"""A run that goes on is held to what its checkpoint was trained with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_model import save_tiny_model

from CSRDDenoiseLib.alone import alone
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.research.training.checkpoint import NAME, held_facts, load_checkpoint
from CSRDDenoiseLib.research.training.export import export_model
from CSRDDenoiseLib.research.training.loop import LOCK, TrainingRun

pytestmark = pytest.mark.slow

nibabel = pytest.importorskip("nibabel")
WIDER = {"type": "ResidualUNet3d", "widths": [8, 16], "blocks": [1, 1], "embedding": 16}


@pytest.fixture
def config(training_config):
    return replace(training_config, doses=(1 / 4,), pool_size=1, pool_start=1, validation_phantoms=0, batch=1, steps=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "noise-free"}, "trained with target full-dose, and this run has noise-free; set it back"),
        ({"sigma_range": (0.02, 80.0)}, r"sigma_range \[0\.02, 40\.0\]"),
        ({"doses": (1 / 8,)}, r"doses \[0\.25\]"),
        ({"model_spacing": 4.0}, r"model_spacing 5\.0"),
        ({"architecture": WIDER}, "architecture"),
        ({"normalisation": "reference", "architecture": {**WIDER, "in_channels": 6}}, "architecture|normalisation"),
    ],
)
def test_a_run_goes_on_with_what_its_model_says_of_it(config, tmp_path, changes, words):
    TrainingRun(config).run()
    before = (config.output / NAME).read_bytes()
    other = replace(config, steps=2, **changes)
    with pytest.raises(InputError, match=words):
        TrainingRun(other).run()
    with pytest.raises(InputError, match=words):
        export_model(other, tmp_path / "model")
    assert (config.output / NAME).read_bytes() == before and not (tmp_path / "model").exists()
    assert TrainingRun(replace(config, steps=2, batch=2, learning_rate=1e-4)).run().step == 2


def test_a_mean_model_is_known_by_its_weights_wherever_it_lies(config, tmp_path):
    one, moved, other = (save_tiny_model(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    facts = [held_facts(replace(config, mean_model=str(model))) for model in (one, moved, other)]
    assert facts[0] == facts[1] != facts[2]


def test_a_checkpoint_of_an_earlier_version_goes_on(config):
    TrainingRun(config).run()
    saved = load_checkpoint(config.output)
    del saved["facts"]
    torch.save(saved, config.output / NAME)
    assert TrainingRun(replace(config, steps=2)).run().step == 2
    assert load_checkpoint(config.output)["facts"] == held_facts(config)


def test_a_training_in_the_folder_of_another_that_is_at_work_is_refused(config):
    TrainingRun(config).run()
    before = {path.name: path.read_bytes() for path in config.output.iterdir() if path.is_file()}
    more = replace(config, steps=2)
    with alone(config.output / LOCK, "A training", config.output), pytest.raises(InputError):
        TrainingRun(more).run()
    assert {path.name: path.read_bytes() for path in config.output.iterdir() if path.is_file()} == before
    assert TrainingRun(more).run().step == 2


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_checkpoint_whose_copy_is_not_complete_is_refused(config, kept):
    TrainingRun(config).run()
    path = config.output / NAME
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    for act in (TrainingRun(config).run, lambda: export_model(config, config.output / "model")):
        with pytest.raises(InputError, match=r"checkpoint\.pt' cannot be read"):
            act()


def test_a_run_sees_as_many_phantoms_as_it_asks_for_of_a_pool_that_has_more(config, tmp_path):
    shared = tmp_path / "data"
    larger = TrainingRun(replace(config, data=shared, pool_size=2, pool_start=2, output=tmp_path / "larger"))
    assert larger.run().phantoms == 2
    own, sharing = (
        TrainingRun(replace(config, data=data, output=tmp_path / name, steps=3))
        for name, data in (("own", tmp_path / "own-data"), ("sharing", shared))
    )
    assert own.run().phantoms == sharing.run().phantoms == 1
    for one, other in zip(own.denoiser.parameters(), sharing.denoiser.parameters()):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
