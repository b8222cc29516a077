"""An accelerator that lacks an operation of the network gives way to the CPU where the device is ``auto``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from CSRDDenoiseLib.denoise import denoise
from CSRDDenoiseLib.devices import lacks_operation
from CSRDDenoiseLib.infer import sampling
from CSRDDenoiseLib.model.bundle import load_model
from CSRDDenoiseLib.settings import settings_from_preset

LACKS = "Conv3D is not supported on MPS"


class Lacking(sampling.VolumeDenoiser):
    """Evaluates on the CPU only, as torch before 2.3 does with convolutions in 3D on MPS."""

    def __init__(self, model, condition, head, settings, device, *more):
        if device.type != "cpu":
            raise RuntimeError(LACKS)
        super().__init__(model, condition, head, settings, device, *more)


@pytest.fixture
def lacking(monkeypatch) -> None:
    monkeypatch.setattr(sampling, "VolumeDenoiser", Lacking)
    monkeypatch.setattr(sampling, "choose_device", lambda name: torch.device("mps" if name == "auto" else name))


def test_auto_goes_on_on_the_cpu_with_the_same_values_and_a_finding(pet, mr, model_folder, lacking):
    model, settings = load_model(model_folder), settings_from_preset("fast", precision="float32")
    result = denoise(pet, mr, settings, model)
    (finding,) = [each for each in result.findings if each.code == "device.fallback"]
    assert finding.values == {"device": "mps", "reason": LACKS}
    assert any("mps" in sentence for sentence in result.warnings)
    assert result.provenance["device"] == "cpu"
    expected = denoise(pet, mr, replace(settings, device="cpu"), model)
    np.testing.assert_array_equal(*(sitk.GetArrayFromImage(each.denoised) for each in (result, expected)))
    assert not [each for each in expected.findings if each.code == "device.fallback"]


def test_a_device_that_was_asked_for_is_not_exchanged(pet, mr, model_folder, lacking, monkeypatch):
    monkeypatch.setattr(sampling, "choose_device", lambda _: torch.device("mps"))
    with pytest.raises(RuntimeError, match=LACKS):
        denoise(pet, mr, settings_from_preset("fast", device="cpu"), load_model(model_folder))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device."), True),
        (RuntimeError(LACKS), True),
        (RuntimeError("Could not run 'aten::conv3d' with arguments from the 'MPS' backend"), True),
        (RuntimeError("CUDA out of memory"), False),
        (ValueError("not a device"), False),
    ],
)
def test_only_a_missing_operation_counts(error, expected):
    assert lacks_operation(error) is expected
