"""PETs whose slices are stored from the top down: where the head of a long body is, for pairs and their calibration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import as_image
from tiny_model import tiny_metadata

from CSRDDenoiseLib.model.bundle import Model
from CSRDDenoiseLib.prepare.align import head_mask_of
from CSRDDenoiseLib.research.adaptation import calibration
from CSRDDenoiseLib.settings import DenoiseSettings
from CSRDDenoiseLib.subjects.judge import _judge_lesions

SIDES = (6.0, 6.0, 6.0)


def body() -> np.ndarray:
    """A trunk and, above it, a bright head, (D, H, W), z to superior; 444 mm long."""
    values = np.zeros((80, 26, 26), np.float32)
    values[3:60, 5:21, 5:21] = 1000
    values[60:77, 6:20, 6:20] = 5000
    return values


def stored(values: np.ndarray, order: str) -> sitk.Image:
    return sitk.DICOMOrient(as_image(values, SIDES), order)


@pytest.mark.parametrize("order", ["LPS", "LPI", "RAI", "ASL"])
def test_head_is_the_same_in_whatever_order_a_pet_is_stored(order):
    pet = stored(body(), order)
    mask = head_mask_of(pet)
    assert mask.shape == pet.GetSize()[::-1]
    values = sitk.GetArrayFromImage(pet)
    assert mask[values == 5000].all() and mask[values == 1000].mean() < 0.5


@pytest.mark.parametrize("order", ["LPS", "LPI"])
def test_lesion_of_the_head_lies_in_it(order):
    lesions = np.zeros(body().shape, np.float32)
    lesions[70:73, 10:13, 10:13], lesions[5:8, 10:13, 10:13] = 1, 2
    pair = SimpleNamespace(full=stored(body(), order), lesions=sitk.GetArrayFromImage(stored(lesions, order)))
    assert [finding.values["label"] for finding in _judge_lesions(pair)] == [2]


@pytest.mark.parametrize("order", ["LPS", "LPI"])
def test_uncertainty_is_fitted_to_voxels_of_the_head(monkeypatch, order):
    spread = np.where(body() == 5000, 2.0, 1.0).astype(np.float32)
    spread[:40] = 0
    model = Model(tiny_metadata(), None, Path())
    record = SimpleNamespace(residual_scale=1.0)
    result = SimpleNamespace(uncertainty=stored(spread, order), denoised=stored(body() + spread, order), record=record)
    monkeypatch.setattr(calibration, "denoise", lambda *_: result)
    pet = stored(body(), order)
    pair = SimpleNamespace(low=pet, full=pet, mr=None, row=SimpleNamespace(subject="A"))
    found = calibration.voxels_of(pair, 0.25, model, DenoiseSettings())
    assert (found.squares == 4).sum() == (body() == 5000).sum()
