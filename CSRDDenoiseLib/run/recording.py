"""The record of a run, from what each stage returned."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Mapping

from ..checks.unit import check_suv
from ..findings import Finding, warning
from ..io.record import FileFacts, InputFacts, ModelFacts, Record, Resolved, describe_image
from ..io.suv import volume_suv
from ..io.volume import ReadVolume, units_of
from .request import FileRequest
from .stages import Job, Prepared

if TYPE_CHECKING:
    from ..infer.sampling import ResidualSamples


def make_record(
    job: Job, prepared: Prepared, samples: ResidualSamples, change: float, findings: tuple[Finding, ...]
) -> Record:
    """Return the record of a run on images."""
    inputs, metadata = prepared.inputs, job.metadata
    given = {"pet": inputs.pet, "mr": inputs.mr, "full_dose_reference": inputs.reference, "region": inputs.region}
    described = {name: None if image is None else InputFacts(describe_image(image)) for name, image in given.items()}
    return Record(
        inputs={name: facts for name, facts in described.items() if facts or name == "mr"},
        model=ModelFacts(
            metadata.name,
            str(job.model.folder),
            metadata.weights_sha256,
            metadata.normalisation,
            metadata.voxel_spacing_mm,
            None if metadata.boost is None else asdict(metadata.boost),
        ),
        settings=job.settings,
        resolved=Resolved(
            samples.device,
            samples.precision,
            samples.patch,
            samples.patch_size is None,
            samples.evaluations,
            samples.boost,
        ),
        unit=units_of(inputs.pet),
        brain_mean=prepared.scan.brain_mean,
        residual_scale=prepared.scale,
        mean_change=change,
        findings=findings,
        seconds=job.stages.summary(),
    )


def record_of_files(
    record: Record, request: FileRequest, volumes: Mapping[str, ReadVolume], files: Mapping[str, FileFacts]
) -> Record:
    """Return the record of a run on files, with these, the findings of reading them, and the paths of the outputs."""
    others = {name: InputFacts(describe_image(each.image)) for name, each in volumes.items()}
    inputs = {**record.inputs, **{name: facts for name, facts in others.items() if name not in record.inputs}}
    suv = {"pet": volume_suv(volumes["pet"])}
    about_files = (finding for volume in volumes.values() for finding in volume.findings)
    too_little = (finding for finding in record.findings if finding.code == "output.too_little" and request.support)
    not_judged = (warning("output.not_judged", **finding.values) for finding in too_little)
    read_from = {
        name: facts and replace(facts, file=files.get(name), suv=suv.get(name)) for name, facts in inputs.items()
    }
    return replace(
        record,
        inputs=read_from,
        outputs={name: request.path_in_record(name) for name in request.outputs},
        output_unit=request.output_unit,
        place=request.place,
        findings=(*about_files, *record.findings, *check_suv(suv["pet"], record.brain_mean), *not_judged),
    )
