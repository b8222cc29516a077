"""The words of the page."""

INTRODUCTION = (
    "Written by `csrd-denoise experiment evidence configs/evidence.yaml`. All scans are simulated, of subjects and"
    " scanner families that no choice was made on (`research/simulation/families.json`, part `report`: {report}; "
    "the families for choices are {validation}). Model `{name}`, weights `{weights}`. {scans} scans of {phantoms} "
    "phantoms at {doses}. The result is the posterior mean with the measurement kept as by default, the dose known"
    " where it is compared with the full dose. Filters are oracle-tuned: on every scan each has its best setting, "
    "which is not possible in practice. BM4D is not among them, because its package is not free for every use; add "
    "`BM4D` to `filters` where you may use it."
)
ABOUT = {
    "error": (
        "Error in calm brain at equal contrast",
        "Root mean square against the noise-free image in the brain 4 mm from its surface and 12 mm from lesions, "
        "in % of its mean, where a share of the contrast that hot lesions (up to 24 a head, radius 4 to 6 mm, +50 "
        "to +150 %) have in the PET is kept; ours along `--keep-above`, each filter along its parameter. Mean over"
        " scans; the ratio is the mean of the scans' ratios, least and largest in brackets.",
    ),
    "gain": (
        "Dose gain",
        "The dose at which the best filter has our error at the same contrast, over the dose of the scan. The filters"
        " were measured at 1/20, 1/10, 1/4 and the full dose of the same counts; between two doses the error is taken"
        " for a power of the dose. Nothing is extrapolated: '>' where the full dose does not suffice, '<' where even "
        "at 1/20 the filter has less error. Error of the interpolation, found by leaving a dose out that lies between"
        " two others: {interpolation}.",
    ),
    "psnr": (
        "PSNR, SSIM, NRMSE",
        "In the head, peak the maximum of the reference. Against the full dose the low dose's share is known. "
        "'Best filter': on each scan the one with the greatest PSNR to the full dose.",
    ),
    "contrast": (
        "Contrast that is kept by default",
        "Of hot lesions of 4 to 6 mm radius, over that in the low dose, with the width that the model chooses by "
        "the noise.",
    ),
    "lesions": (
        "Lesions by size",
        "Lesions of one radius, hot (+60 to +140 %) and cold (-40 to -70 %), drawn into noise-free image and scans"
        " alike. Mean, maximum and peak (mean of the ball of 1 mL in which it is greatest) against the noise-free "
        "image; contrast over that in the noise-free image, median over lesions. The Gaussian is the one nearest "
        "to the full dose.",
    ),
    "regions": (
        "Bias of regions",
        "Grey and white matter in eight parts of the brain, 1 mL or more, against the noise-free image. The **bias** "
        "is the signed error of a region's mean, averaged over the scans of a dose: what is wrong in the same "
        "direction in every scan; what is too much on one scanner and too little on another cancels. Its mean size "
        "over regions is compared with the goal; an estimate without bias would leave about the standard error of such "
        "an average. The **error of a single scan** is averaged without its sign, so it also has the "
        "noise that the region's mean has in the input, and which stays in the result, as that keeps the measurement "
        "at coarse scales. The best filter is the one with the greatest PSNR to the full dose on that scan.",
    ),
    "imprint": (
        "Structures that only the MR shows",
        "Up to 12 spheres of 5 mm radius in white matter, as bright as grey matter in the MR, not in the PET. "
        "Change of the result in a sphere, as a share of the contrast of grey and white matter in the noise-free "
        "PET, against the error that the same means have without spheres (noise alone).",
    ),
    "blobs": (
        "Invented blobs",
        "No lesion drawn; the phantom's own left out by 12 mm. Connected places per litre of calm brain where the "
        "image, smoothed by 6 mm, exceeds the noise-free one by 3 standard deviations, of the full dose's error or"
        " of the image's own.",
    ),
    "uncertainty": (
        "Uncertainty",
        "Preset `balanced` with its calibration, error of the result to the noise-free image, over the brain.",
    ),
}
"""Name of a table -> its title and what it shows."""
