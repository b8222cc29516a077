"""A small raw BIDS dataset that the BIDS validator accepts: inherited sidecars, sessions, runs, static and dynamic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from conftest import head_array

SHARED: dict[str, Any] = {
    **{"Manufacturer": "Siemens", "ManufacturersModelName": "HRRT", "BodyPart": "BRAIN", "Units": "Bq/mL"},
    **{"TracerName": "FDG", "TracerRadionuclide": "F18", "InjectedMass": "n/a", "InjectedMassUnits": "n/a"},
    **{"SpecificRadioactivity": "n/a", "SpecificRadioactivityUnits": "n/a", "ModeOfAdministration": "bolus"},
    **{"AcquisitionMode": "list mode", "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 0},
    **{"ReconMethodName": "OSEM", "ReconMethodParameterLabels": ["subsets", "iterations"]},
    **{"ReconMethodParameterUnits": ["none", "none"], "ReconMethodParameterValues": [16, 4]},
    **{"ReconFilterType": "none", "ReconFilterSize": 0, "AttenuationCorrection": "CT"},
}
"""In ``pet.json`` of the dataset, inherited by every PET."""
INJECTION: dict[str, Any] = {
    **{"InjectedRadioactivity": 368.08, "InjectedRadioactivityUnits": "MBq", "BodyWeight": 70.0},
    **{"TimeZero": "10:00:00", "InjectionStart": 0, "ScanStart": 3600},
}
"""Of a participant, in a file of the participant's folder."""


def write_json(path: Path, entries: dict[str, Any]) -> Path:
    """Write entries; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def write_pet(path: Path, frames: int = 1) -> Path:
    """A PET of 2 mm, with its own times alone in its sidecar."""
    values = np.stack([head_array(seed=index).T for index in range(frames)], -1)
    write_json(
        path.with_name(path.name.replace(".nii.gz", ".json")),
        {"FrameTimesStart": [60 * index for index in range(frames)], "FrameDuration": [60] * frames},
    )
    image = nibabel.Nifti1Image(values if frames > 1 else values[..., 0], np.diag([-2.0, -2.0, 2.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


def write_dataset(root: Path, mr: sitk.Image) -> Path:
    """Two participants: one static PET of two runs; one with two sessions, a dynamic PET in the second."""
    write_json(root / "dataset_description.json", {"Name": "Raw", "BIDSVersion": "1.9.0", "License": "CC0"})
    (root / "README.md").write_text("A dataset of the tests. " * 10)
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\nsub-02\t40\n")
    write_json(root / "participants.json", {"age": {"Description": "of the participant", "Units": "year"}})
    write_json(root / "pet.json", SHARED)
    for label in ("01", "02"):
        write_json(root / f"sub-{label}/sub-{label}_pet.json", INJECTION)
    for run in (1, 2):
        write_pet(root / f"sub-01/pet/sub-01_trc-FDG_run-{run}_pet.nii.gz")
    write_pet(root / "sub-02/ses-a/pet/sub-02_ses-a_trc-FDG_rec-acdyn_pet.nii.gz")
    write_pet(root / "sub-02/ses-b/pet/sub-02_ses-b_trc-FDG_pet.nii.gz", frames=3)
    for place in ("sub-01/anat/sub-01", "sub-02/ses-b/anat/sub-02_ses-b"):
        target = root / f"{place}_T1w.nii.gz"
        target.parent.mkdir(parents=True)
        sitk.WriteImage(mr, str(target))
        image = nibabel.load(target)
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, target)
    return root
