"""Settings: what is wrong with one is a sentence, from JSON and from code; making them needs no other package."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image, head_array
from tiny_model import save_tiny_model

from CSRDDenoiseLib.commands.main import main
from CSRDDenoiseLib.errors import InputError
from CSRDDenoiseLib.run.request import check_uncertainty
from CSRDDenoiseLib.settings import PRESETS, DenoiseSettings, checked, settings_from_fields, settings_from_preset

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": "many"}, ("'steps' is 'many'", "a whole number")),
        ({"steps": 2.5}, ("'steps' is 2.5", "a whole number")),
        ({"samples": True}, ("'samples' is True", "a whole number")),
        ({"register": "yes"}, ("'register' is 'yes'", "true or false")),
        ({"overlap": math.nan}, ("'overlap'", "a finite number")),
        ({"device": None}, ("'device' is None", "text")),
        ({"keep_above_mm": "much"}, ("'keep_above_mm' is 'much'", "a finite number")),
        ({"patch_size": [64, 64]}, ("'patch_size' is [64, 64]", "a list of 3")),
        ({"patch_size": [64, 64, "x"]}, ("'patch_size[2]' is 'x'", "a whole number")),
        ({"patch_size": [64, 0, 64]}, ("'patch_size'", "between 1 and")),
        ({"steps": 0}, ("'steps' is 0", "between 1 and 1000")),
        ({"dose": 1}, ("'dose' is 1", "less than 1")),
        ({"keep_above_mm": -1}, ("'keep_above_mm' is -1", "at least 0")),
        ({"keep_above_mm": 100000}, ("'keep_above_mm' is 100000", "0 to 500 mm, or inf")),
        ({"sampler": "euler"}, ("'sampler' is 'euler'", "dpmpp, heun, mean")),
        ({"seed": 2**63}, ("'seed'", "must lie between 0 and")),
        ({"step": 2}, ("'step' is not known", "did you mean 'steps'")),
        ([1], ("[1]", "a mapping")),
    ],
)
def test_what_is_wrong_in_a_message_is_a_sentence(values, words):
    with pytest.raises(InputError) as caught:
        settings_from_fields(values)
    assert all(word in str(caught.value) for word in ("The settings", *words)), caught.value


@pytest.mark.parametrize("values", [{"steps": "many"}, {"dose": 0.0}, {"sampler": 3}, {"patch_size": "64"}])
def test_limits_hold_for_settings_made_in_code(values):
    with pytest.raises(InputError, match=f"'{next(iter(values))}' is"):
        DenoiseSettings(**values)


def test_a_run_begins_with_every_value_of_its_type():
    taken = checked(DenoiseSettings(steps=np.int64(4), overlap=np.float32(0.5), patch_size=[8, 8, 16]))
    assert taken == DenoiseSettings(steps=4, overlap=0.5, patch_size=(8, 8, 16))
    assert type(taken.steps) is int and type(taken.overlap) is float
    assert checked(None) == DenoiseSettings()
    with pytest.raises(InputError, match="'nan_to_zero' is 1"):
        checked(DenoiseSettings(nan_to_zero=1))


@pytest.mark.parametrize("given", ["balanced", {"steps": 4}, DenoiseSettings])
def test_what_is_no_settings_is_refused(given):
    with pytest.raises(InputError, match=rf"of the type {type(given).__name__}; give DenoiseSettings"):
        checked(given)


BARE = DenoiseSettings(keep_above_mm=math.inf, patch_size=(8, 9, 10))
OTHER_NUMBERS = DenoiseSettings(
    seed=np.int64(3),
    steps=np.int32(4),
    keep_above_mm=np.float32(12),
    dose=Fraction(1, 4),
    patch_size=(np.int64(8),) * 3,
)


@pytest.mark.parametrize("settings", [*PRESETS.values(), BARE, OTHER_NUMBERS])
def test_json_and_back(settings):
    text = json.dumps(settings.as_dict(), allow_nan=False)
    assert settings_from_fields(json.loads(text)) == settings


def test_presets_need_no_other_package():
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('cattrs', 'attr', 'attrs', 'numpy', 'torch', 'SimpleITK')))\n"
        "from CSRDDenoiseLib.settings import DenoiseSettings, settings_from_preset\n"
        "assert settings_from_preset('quality', seed=3).seed == 3 and DenoiseSettings(steps=5).steps == 5\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_mean_of_samples_needs_samples(tmp_path, capsys):
    for settings in (
        {"sampler": "mean", "estimate": "samples"},
        {"sampler": "mean", "steps": 4, "estimate": "samples"},
    ):
        with pytest.raises(InputError, match="draws no samples"):
            DenoiseSettings(**settings)
    assert settings_from_preset("fast", estimate="samples", sampler="dpmpp", steps=4).estimate == "samples"
    sitk.WriteImage(as_image(head_array()), tmp_path / "pet.nii.gz")
    words = [
        "denoise",
        "--pet",
        str(tmp_path / "pet.nii.gz"),
        "--output",
        str(tmp_path / "out.nii.gz"),
        "--estimate",
        "samples",
    ]
    without = save_tiny_model(tmp_path / "tiny", draws=False)
    for more in (["--preset", "fast"], ["--model", str(without), "--device", "cpu"]):
        assert main([*words, *more]) == 2 and "draws no samples" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pet.nii.gz", "tiny"]


def test_draws_of_one_step_are_the_posterior_mean():
    one = DenoiseSettings(steps=1)
    assert not one.has_uncertainty and DenoiseSettings(steps=2).has_uncertainty
    with pytest.raises(InputError, match="2 or more steps, and 1 is asked for"):
        check_uncertainty(one)
    with pytest.raises(InputError, match="2 or more samples, and 1 is asked for"):
        check_uncertainty(DenoiseSettings(samples=1, estimate="samples"))
