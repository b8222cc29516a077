"""The one catalogue of sentences: a finding's code -> a template, and what an option is called at each edge.

A template is a format string over the finding's values. Beside Python's own format specifications it takes
``{dose:fraction}`` (1/10), ``{sides:sides}`` (2.00 x 2.00 x 5.00), ``{reason:phrase}`` (a part of the sentence, from
:data:`PHRASES`) and ``{hint:register}`` (what the option is called at this edge, from :data:`HINTS`).
"""

from __future__ import annotations

import string
from fractions import Fraction
from typing import Any, Callable, Iterable, Mapping, Sequence

from .errors import CSRDError
from .findings import Finding
from .table_sentences import TABLE_SENTENCES

CLI, SLICER, PYTHON = "cli", "slicer", "python"
EDGES = (CLI, SLICER, PYTHON)
_SIMPLE, _SAME_DOSE = 20, 1e-4

HINTS: Mapping[str, Mapping[str, str]] = {
    "register": {
        CLI: "use --register",
        SLICER: "switch on 'Register MR to PET'",
        PYTHON: "set register=True",
    },
    "nan_to_zero": {
        CLI: "use --nan-to-zero",
        SLICER: "repair it in the Segment Editor or a filter module",
        PYTHON: "set nan_to_zero=True",
    },
    "full_dose_reference": {
        CLI: "use --full-dose-reference",
        SLICER: "choose a 'Full-dose reference'",
        PYTHON: "pass full_dose_reference",
    },
    "overwrite": {
        CLI: "use --overwrite",
        SLICER: "choose another volume",
        PYTHON: "set overwrite=True",
    },
    "report": {
        CLI: "use --report FOLDER",
        SLICER: "use 'Open report'",
        PYTHON: "set report",
    },
    "device": {
        CLI: "use --device cpu",
        SLICER: "choose the device 'cpu'",
        PYTHON: "set device='cpu'",
    },
    "whole_field": {
        CLI: "use --whole-field",
        SLICER: "pass whole_field=True from the Python console",
        PYTHON: "set whole_field=True",
    },
    "precision": {
        CLI: "use --precision auto",
        SLICER: "choose the precision 'automatic'",
        PYTHON: "set precision='auto'",
    },
    "tls": {
        CLI: "use --tls FOLDER",
        SLICER: "choose the folder of certificates",
        PYTHON: "pass tls=FOLDER",
    },
    "send": {
        CLI: "use --send",
        SLICER: "choose files that both see",
        PYTHON: "pass send=True",
    },
    "insecure": {
        CLI: "or use --insecure in a network that you trust",
        SLICER: "choose a folder of certificates; docs/cluster.md shows how to make them",
        PYTHON: "or pass insecure=True in a network that you trust",
    },
}
"""Option -> edge -> what the user does there, an imperative without a full stop."""

SENTENCES: Mapping[str, str] = {
    **TABLE_SENTENCES,
    # how a file was read
    "orientation.forms_disagree": "The sform and the qform of the {what} place it up to {distance_mm:.1f} mm apart; "
    "the sform (code {sform_code}) was used, not the qform (code {qform_code}). Check the position.",
    "orientation.qform_broken": "The qform of the {what} is not a rotation; the sform was used.",
    "orientation.none": "The {what} has no orientation ({kind}), so left, right and position are assumed; check them.",
    "orientation.no_spacing": "The {what} has no voxel size, so 1 mm is assumed; check it.",
    "voxels.broken": "{count} voxel(s) of the PET exceed {limit:.4g}, 50 times its 99.9 % quantile; the largest is at "
    "{largest_at} (from 1). The network received them clipped to this limit, and the result keeps them. Repair the "
    "PET.",
    "voxels.cut_off": "{count} voxels of the PET share its largest value, {largest:.5g}: larger values were cut off, "
    "as by a conversion to integers. The uptake there is too low, also in the result. Convert the PET again.",
    "voxels.turned": "In {pairs} pairs of neighbours the PET falls from its largest values, near {largest:.5g}, "
    "to near {lowest:.5g}: values too large for the type of a file were stored as negative. Convert the PET again.",
    "voxels.more": "The file of the {what} holds {there} values, but its header states {needed}; the first {needed} "
    "were used. Check the size and the type in the header.",
    "orientation.voxel_size": "The {what}'s sform has voxels of {sides:sides} mm, but its pixdim is {pixdim}; the "
    "sform was used.",
    "orientation.shear": "The axes of the {what} are not quite perpendicular: the nearest rectangular grid was taken, "
    "and its corners are off by {distance_mm:.1f} mm.",
    "units.length": "The header of the {what} gives lengths in the unit {unit}; they were converted to mm.",
    "units.length_ignored": "The header of the {what} gives lengths in the unit {unit}, which makes voxels of "
    "{sides:sides} impossible; they were read as mm.",
    "unit.sidecar": "The unit of the {what} is {unit} by its BIDS sidecar.",
    "frames.no_durations": "The frames of the {what} have start times but no list of durations. Each frame is assumed "
    "to last until the next one begins, and the last frame as long as the one before.",
    "frames.other_number": "The BIDS sidecar of the {what} gives times of {stated} frame(s), but the {what} has "
    "{count}; they were not used. Correct FrameTimesStart and FrameDuration.",
    "frames.contradict": "The BIDS sidecar of the {what} gives frame {frame} the time from {start_s:g} to {end_s:g} s, "
    "which is empty or runs into the next frame. The times were not used. Correct FrameTimesStart and FrameDuration, "
    "both in seconds.",
    "frames.too_long": "The frames of the {what} last {hours:g} hours in all by its BIDS sidecar, longer than a scan. "
    "Their times were not used. Correct FrameTimesStart and FrameDuration, which are in seconds, not milliseconds.",
    "frames.no_times": "The acquisition dates and times of the {what}'s {count} frames are missing or do not rise from "
    "frame to frame, so their times are unknown; the second half of the frames is used as the late frames. Check "
    "Acquisition Date and Acquisition Time.",
    "suv.injection_at_start": "By its BIDS sidecar the {what} begins {seconds:g} s after the injection. Converters "
    "write 0 where they do not know the time of the injection. If it was earlier, the SUV is too small: correct "
    "InjectionStart, in seconds.",
    "sidecar.unreadable": "The file '{file}' beside the {what} is damaged, or a link whose content is missing: its "
    "unit and times were not read.",
    "modality.unusual": "The {what} has the DICOM modality {modality}, but {wanted} is expected; check that it is the "
    "right series.",
    "attenuation.not_corrected": "By its header the {what} was not corrected for attenuation ({stated}), so that its "
    "values fall towards the centre of the head. Use the corrected image.",
    "series.others_ignored": "The folder holds {count} other DICOM series; the {what} was read from {series}.",
    "series.more_slices": "The {what} series holds {count} slices, but its header states {announced}; check that it "
    "is one volume.",
    "pixels.lossy": "The {what} was compressed with loss at some point, which alters fine detail and noise. Use the "
    "series as the scanner stored it, if it is there.",
    "pixels.padding": "{count} of {size} voxels of the {what} are padding by the header (Pixel Padding Value), where "
    "nothing was measured; they were set to zero.",
    "values.analyze_scale": "The values of the {what} were multiplied by {slope:.4g}, the scale in its Analyze header "
    "(funused1, by SPM's convention).",
    # the volumes themselves
    "values.replaced": "The {what} had {count} of {size} voxels that are NaN or infinite ({share:.2g} of all); they "
    "were set to zero.",
    "spacing.outside": "The PET's voxels are {sides:sides} mm; the model was trained on {low:g} to {high:g} mm, so the "
    "result is less certain. Compare it with the PET.",
    "overlap.partial": "The MR covers only {covered:.0%} of the head in the PET; check that the two are registered.",
    "overlap.brain": "The MR covers only {covered:.0%} of the brain in the PET; the rest was denoised without MR.",
    # place of PET and MR
    "registration.not_converged": "The registration of the MR to the PET did not converge, so the MR keeps its "
    "position; register the two by hand, or leave the MR out.",
    "registration.no_gain": "The registration found no better position for the MR (normalised mutual information "
    "{nmi_before:.3f} as given, {nmi_after:.3f} at best), so the MR keeps its position.",
    "registration.applied": "The MR was moved by {offset_mm:.1f} mm and {angle_degrees:.1f} degrees to fit the PET.",
    "alignment.doubtful": "The alignment of PET and MR is doubtful: {reason:phrase}. Inspect both images, and register "
    "the MR to the PET ({hint:register}) or leave the MR out.",
    "alignment.misaligned": "PET and MR are misaligned: {reason:phrase}. Inspect both images, and register the MR to "
    "the PET ({hint:register}) or leave the MR out.",
    "mirror.found": "Left and right of the MR may be exchanged: the mirrored MR fits the PET better (normalised "
    "mutual information {nmi_mirrored:.3f} mirrored, {nmi_best:.3f} as given). Check the orientation of both files.",
    # what the PET looks like
    "label_map.likely": "The {what} looks like a label map: its {count} values are whole numbers up to {largest} "
    "without a unit, and {equal:.0%} of neighbouring voxels are equal. Check that you chose the {what}.",
    "unit.changed": "The values of the {what} are no longer those of the {count} DICOM files that it was loaded from, "
    "but its unit is still {unit}, as in the files. If the values were scaled, correct the unit, which the result "
    "takes over, or denoise the PET as it was loaded. Its SUV is unknown.",
    "unit.unclear": "The file does not name the PET's unit, and a brain mean of {brain_mean:.3g} is in the range of "
    "neither SUV ({suv[0]:g} to {suv[1]:g}) nor Bq/mL ({activity[0]:g} to {activity[1]:,.0f}). The result has the same "
    "unit; check that this is a PET and how it was scaled.",
    "suv.unusual": "The brain's mean would be {suv:.3g} in SUV, and {low:g} to {high:g} is usual: the unit, the dose, "
    "the weight or a time in the header is wrong ({source}). Correct it before you use the SUV.",
    "voxels.anisotropic": "The PET's voxels of {sides:sides} mm are {anisotropy:.1f} times longer than wide; the model "
    "was trained on cubes, so detail along the long side is less certain.",
    "blank_slices.found": "{count} of the PET's {slices} slices along axis {axis} of the file hold a single value, "
    "beginning with number {first}: data are missing there. Export the PET again.",
    "slices.out_of_scale": "{count} of the PET's {slices} slices along axis {axis} of the file are out of scale with "
    "their neighbours, number {worst} by a factor of {factor:.3g}, as by a wrong rescale slope; the result cannot be "
    "trusted. Export the PET again.",
    "cut.edges": "The brain is cut off: bright tissue reaches the edge of the image at the {edges_cm2:areas}. Near the "
    "cut the result is less certain, and the brain mean is that of the remaining brain.",
    "field.long": "The PET shows {body_mm:.0f} mm of a body; only its upper {head_mm:.0f} mm, assumed to be the "
    "head, are denoised, and the rest stays unchanged. Crop the PET to the head; to denoise all of it, "
    "{hint:whole_field}.",
    "head.small": "Only {head_ml:.0f} mL of the PET stand out from the background, less than any head in the training "
    "data ({limit_ml:.0f} mL or more): part of the head may be missing.",
    "head.large": "The detected head has {head_ml:.0f} mL, more than any real head ({limit_ml:.0f} mL): the air around "
    "it shows high activity, so brain mean, noise and result may be wrong. Crop the PET to the head.",
    "filtering.found": "The PET seems to be filtered already: its finest detail is about {detail_mm:.1f} mm wide, and "
    "up to {limit_mm:g} mm is usual. Use the unfiltered PET, if there is one.",
    "back_projection.found": "The PET seems to be reconstructed by filtered back projection: {negative:.0%} of "
    "the voxels around the head are negative, with {noise_share:.0%} of the brain's noise. The bundled models were "
    "trained on OSEM images. Compare the result with that of the model 'tissue'.",
    "attenuation.doubtful": "The PET may lack attenuation correction: activity in the brain falls towards the centre, "
    "as it does without the correction (score {score:.2f}, up to {limit:g} is usual; the rim of the head has "
    "{rim_share:.0%} of the activity at the centre). Check the reconstruction.",
    "mr.not_t1": "The MR may not be T1-weighted: deep brain minus cortex is {depth_contrast:+.0%} of the tissue around "
    "them, and {limit:+.0%} or more is usual for T1. The model was trained mostly on T1.",
    "mr.enhanced": "The MR may have been acquired after contrast agent: its brightest spots in the brain are "
    "{tail:.2f} times as bright as its bright tissue, and up to {limit:g} is usual. Vessels could appear in the "
    "result; use an MR without contrast agent, if there is one.",
    "counts.other_protocol": "The full-dose reference has voxels of {reference_sides:sides} mm and the PET of "
    "{pet_sides:sides} mm, so their protocols differ and their noise was not compared. Use a full dose that was "
    "reconstructed like the PET.",
    "counts.too_little": "The {which} shows too little noise or brain to compare its counts, so no dose relative to "
    "the reference was measured.",
    "noise.outside": "The PET is {kind:phrase} than anything this model was trained on (noise level {level:.3g}, "
    "trained {low:.3g} to {high:.3g}{relative_to:phrase}). The result is an extrapolation; compare it with that of the "
    "model 'tissue'.",
    "noise.texture_outside": "The texture of the PET's noise is like that of {kind:phrase} scans than this model was "
    "trained on, though its level is in the trained range (noise level {level:.3g}, trained {low:.3g} to "
    "{high:.3g}{relative_to:phrase}). Compare the result with the PET.",
    "noise.level_outside": "The PET is {kind:phrase} than scans of its dose that this model was trained on: its noise "
    "level is {level:.3g} (trained {low:.3g} to {high:.3g}), though its dose, about {dose:fraction}, was trained. Its "
    "reconstruction, filter or voxels differ from the training's; compare the result with the PET.",
    "dose.reference": "The PET has about {estimate:.2g} of the counts of the full-dose reference.",
    # against a full dose
    "full_dose.resampled": "The full dose lies on another grid ({full}) and was resampled linearly to that of the PET "
    "({pet}), which smooths its noise a little.",
    "full_dose.cut": "The full dose covers {percent:.0f} % of the head; only that part was compared.",
    "full_dose.unit_unknown": "The unit of the PET is {pet}, that of the full dose {full}; they were compared as if "
    "they were the same.",
    "full_dose.unlike": "The brain mean of the PET is {ratio:.4g} times that of the full dose: check that both have "
    "the same unit and decay correction.",
    # what the result looks like
    "region.used": "Only the region was denoised, {head_ml:.0f} mL or {share:.0%} of the head; outside it the "
    "result is the PET as it was measured.",
    "keep.everything": "The result equals the measured PET: all of it was kept.",
    "keep.coarse": "Nothing coarser than {above_mm:.1f} mm was added or removed. Finer details were adjusted to the "
    "strength that the PET shows.",
    "mean.changed": "The model alone changes mean brain activity by {change:+.1%}, more than {limit:.0%}; the result "
    "changes it by {left:+.2%}. The input may be unlike what the model was trained on.",
    "mean.moved": "The result changes mean brain activity by {left:+.1%}, more than {limit:.0%}. Compare it with the "
    "PET.",
    "output.not_judged": "The map of unsupported structure is empty because the PET, or its region, shows less than "
    "{limit_ml:g} mL of brain, too little to judge the result by its counts.",
    "lost_structure.found": "The result is over-smoothed: about {share:.0%} of the structure of 5 to 12 mm that the "
    "PET's counts show is missing (up to {limit:.0%} is usual). Small lesions may have lost contrast; compare with the "
    "PET.",
    "leftover_noise.found": "Noise remains: the result still has about {share:.0%} of the PET's fine noise, "
    "{level:.1%} of the brain mean.",
    "unsupported.found": "The PET's counts do not support the result in {regions} place(s): structure of "
    "{added_ml:.1f} mL was added and of {removed_ml:.1f} mL removed, by up to {largest_change:+.0%} of the brain mean, "
    "most around ({centre_mm:point}) mm (L, P, S). Inspect the PET there.",
    "device.fallback": "The device {device} cannot compute this network ({reason}), so the run was made on the CPU.",
    "uncertainty.not_calibrated": "The uncertainty is not calibrated: the model's calibration was fitted for "
    "{fitted:recipe}, and this run used {used:recipe}. It is the uncorrected estimate from samples and "
    "posterior mean.",
    "uncertainty.earlier": "The uncertainty is not calibrated: the model's calibration is of version 0.2 or earlier, "
    "which defined the spread differently. It is the uncorrected estimate from samples and posterior mean; "
    "csrd-denoise calibrate fits a new calibration.",
    "masked.zeros": "{share:.0%} of the PET is exactly zero in large pieces, as after masking; the result is zero "
    "there too.",
    # time frames
    "frames.unchanged": "{count} frame(s) pass through unchanged ({frames}): {reason:phrase}.",
    "frames.not_chosen": "{count} frame(s) were not chosen and pass through unchanged ({frames}).",
    "motion.between_frames": "The head moves by up to {largest_mm:.1f} mm between the frames (frame {frame} against "
    "the late frames; more than {limit_mm:g} mm in {frames}). The MR fits the late frames only; correct the motion of "
    "the PET first.",
    "fine_band.left": "Much of the detail finer than the model's voxels of {model_mm:g} mm remains: the PET's voxels "
    "are {sides:sides} mm, and {left:.0%} of the noise of single voxels remains.",
}
"""Code -> template. A code without one (a plain measurement) has no sentence."""

PHRASES: Mapping[str, str] = {
    "offset": "the MR seems to be off by about {offset_mm:.1f} mm and {angle_degrees:.1f} degrees",
    "outlines": "the outlines of the heads overlap by {outline_overlap:.0%}",
    "nothing_in_common": "PET and MR share too little information to measure their offset, and the outlines of the "
    "heads overlap by {outline_overlap:.0%}",
    "more": "noisier",
    "less": "less noisy",
    "too_few_counts": "they show too few counts to detect a head",
    "noise_outside": "their noise is outside of the range that this model was trained on",
    "not_finite": "some of their voxels are NaN or infinite; {hint:nan_to_zero}",
    "unusable": "{detail}",
    "did_you_mean": "; '{nearest}' may be meant",
    "known_are": "; known are {known}",
    "many_match": "filter by more entities",
    "others_are": "the other PETs of its session are like '{example}'",
    "no_other": "its session has no other PET",
    "nothing": "",
    "full-dose reference": "; about dose {dose:fraction} of the full-dose reference",
    "typical full dose of the training": "; about dose {dose:fraction}, likely {largest_dose:fraction} to "
    "{smallest_dose:fraction}, if its full dose was typical of the training; for a better estimate, "
    "{hint:full_dose_reference}",
}
"""Value -> part of a sentence, a template over the same values."""


def sentence(finding: Finding, edge: str = PYTHON, translated: Callable[[str], str] = str) -> str:
    """Return a finding as a sentence for an edge (``cli``, ``slicer``, ``python``); empty where it has none.

    Args:
        finding: of a check.
        edge: for which options are named.
        translated: returns a template of :func:`templates` in another language, with the same fields.

    Raises:
        KeyError: the edge is not known, or the finding lacks a value that its template names.
        ValueError: a translation is no format string.
    """
    template = SENTENCES.get(finding.code, "")
    return _Template(finding.values, edge, translated).format(translated(template)) if template else ""


def templates(edge: str) -> tuple[str, ...]:
    """Return every template that a sentence about a run is made of at an edge, for translators; those of tables not."""
    whole = [template for code, template in SENTENCES.items() if code not in TABLE_SENTENCES]
    return tuple(dict.fromkeys(filter(None, [*whole, *PHRASES.values(), *(names[edge] for names in HINTS.values())])))


def sentences(findings: Iterable[Finding], edge: str = PYTHON) -> tuple[str, ...]:
    """Return the sentences of the warnings among findings, in their order."""
    return tuple(sentence(finding, edge) for finding in findings if finding.is_warning)


def notes(findings: Iterable[Finding], edge: str = PYTHON) -> tuple[str, ...]:
    """Return the sentences of the findings that are no warnings, in their order."""
    return tuple(text for finding in findings if not finding.is_warning and (text := sentence(finding, edge)))


def error_sentence(error: BaseException, edge: str = PYTHON) -> str:
    """Return an error's message, with what its hint is called at an edge."""
    hint = error.hint if isinstance(error, CSRDError) else ""
    if not hint:
        return str(error)
    what = HINTS[hint][edge]
    return f"{error} ({what[:1].upper()}{what[1:]}.)"


def as_fraction(dose: float) -> str:
    """Return a dose as a fraction: a simple one as it is (``3/4``), any other as one over a whole number (``1/11``).

    Above 1/2 that would be far off, so the nearest of halves to fifths stands there.
    """
    exact = Fraction(dose).limit_denominator(_SIMPLE)
    if exact and abs(float(exact) - dose) < _SAME_DOSE * dose:
        return str(exact)
    return str(Fraction(dose).limit_denominator(5) if dose > 0.5 else Fraction(1, max(round(1 / dose), 1)))


class _Hint:
    """Looks its format specification up among the hints."""

    def __init__(self, edge: str, translated: Callable[[str], str]):
        self._edge, self._translated = edge, translated

    def __format__(self, name: str) -> str:
        return self._translated(HINTS[name][self._edge])


class _Template(string.Formatter):
    """Formats templates over the values of one finding, for one edge."""

    def __init__(self, values: Mapping[str, Any], edge: str, translated: Callable[[str], str]):
        self._values = {**values, "hint": _Hint(edge, translated)}
        self._translated = translated

    def get_value(self, key: Any, _args: Sequence[Any], _kwargs: Mapping[str, Any]) -> Any:
        """Return the finding's value of this name."""
        return self._values[key]

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format by one of the catalogue's own specifications, or by Python's."""
        if format_spec == "phrase":
            phrase = PHRASES[value]
            return self.format(self._translated(phrase)) if phrase else ""
        if format_spec in _SPECIFICATIONS:
            return str(_SPECIFICATIONS[format_spec](value))
        return format(value, format_spec)


def _sides(sides: Sequence[float]) -> str:
    return " x ".join(f"{side:.2f}" for side in sides)


def _areas(areas: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({area:.0f} cm²)" for name, area in areas.items())


def _point(point: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in point)


def _recipe(recipe: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in recipe.items())


_SPECIFICATIONS: Mapping[str, Callable[[Any], str]] = {
    "fraction": as_fraction,
    "sides": _sides,
    "areas": _areas,
    "point": _point,
    "recipe": _recipe,
}
