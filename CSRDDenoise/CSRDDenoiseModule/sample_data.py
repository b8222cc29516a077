"""The bundled pair as an entry of Slicer's Sample Data module; nothing is downloaded."""

import shutil
from pathlib import Path

import slicer

CATEGORY = "CSRDDenoise"
SAMPLE = "CSRDDenoiseBrain"
FILES = {"low_dose_1_10.nii.gz": "PET low dose 1/10", "mr.nii.gz": "MR T1", "full_dose.nii.gz": "PET full dose"}


def register_sample_data() -> None:
    """Tell the Sample Data module of the pair."""
    from SampleData import SampleDataLogic

    icons = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE,
        thumbnailFileName=str(icons / "CSRDDenoise.png"),
        customDownloader=load_sample,
    )


def load_sample(_source: object = None) -> "list[slicer.vtkMRMLScalarVolumeNode]":
    """Load a copy of the bundled low-dose PET, MR and full-dose PET; return the nodes in this order."""
    from CSRDDenoiseLib.resources import SAMPLE_DATA, resource_folder

    # a copy, so that saving the scene never writes into the extension
    folder = Path(slicer.app.temporaryPath) / SAMPLE
    folder.mkdir(parents=True, exist_ok=True)
    nodes = []
    for name, title in FILES.items():
        copy = folder / name
        shutil.copyfile(resource_folder() / SAMPLE_DATA / name, copy)
        nodes.append(slicer.util.loadVolume(str(copy), {"name": title}))
    return nodes
