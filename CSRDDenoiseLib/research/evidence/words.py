"""The words of the page."""

INTRODUCTION = (
    "Written by `csrd-denoise experiment evidence configs/evidence.yaml`. All scans are simulated. No choice was made "
    "on their subjects and scanner families (`research/simulation/families.json`, part `report`: {report}); choices "
    "were made on {validation}. Model `{name}`, weights `{weights}`. {scans} scans of {phantoms} phantoms at {doses}. "
    "The result is the posterior mean with the measurement kept as by default; where it is compared with the full "
    "dose, the dose is known. Filters are oracle-tuned: on every scan each has its best setting, which is not "
    "possible in practice. BM4D is not among them, because its package is not free for every use; add `BM4D` to "
    "`filters` where you may use it."
)
ABOUT = {
    "error": (
        "Error in calm brain at equal contrast",
        "Root mean square error to the noise-free image in calm brain, 4 mm from its surface and 12 mm from lesions, "
        "in % of its mean. Images are compared where they keep the same share of the contrast that hot lesions (up to "
        "24 a head, radius 4 to 6 mm, +50 to +150 %) have in the PET: ours along `--keep-above`, each filter along "
        "its parameter. Mean over scans; the ratio is the mean of the scans' ratios, least and largest in brackets.",
    ),
    "gain": (
        "Dose gain",
        "The dose at which the best filter has our error at the same contrast, over the dose of the scan. The filters "
        "were measured at 1/20, 1/10, 1/4 and the full dose of the same counts; between two doses the error is "
        "interpolated as a power of the dose. Nothing is extrapolated: '>' where the full dose does not suffice, '<' "
        "where the filter has less error even at 1/20. Error of the interpolation, measured by leaving out a dose "
        "between two others: {interpolation}.",
    ),
    "psnr": (
        "PSNR, SSIM, NRMSE",
        "Over the head; the peak is the maximum of the reference. Against the full dose, the share of it that the low "
        "dose has is known. The best filter is on each scan the one with the greatest PSNR to the full dose.",
    ),
    "contrast": (
        "Contrast that is kept by default",
        "Contrast of hot lesions of 4 to 6 mm radius over that in the low dose, with the width that the model chooses "
        "by the noise.",
    ),
    "lesions": (
        "Lesions by size",
        "Lesions of one radius, hot (+60 to +140 %) and cold (-40 to -70 %), drawn into noise-free image and scans "
        "alike. Mean, maximum and peak (mean of the ball of 1 mL in which it is greatest) are relative to the "
        "noise-free image, and so is the contrast, median over lesions. The Gaussian is the one nearest to the full "
        "dose.",
    ),
    "regions": (
        "Bias of regions",
        "Grey and white matter in eight parts of the brain, 1 mL or more, against the noise-free image. The **bias** "
        "is the signed error of a region's mean, averaged over the scans of a dose: what is wrong in the same "
        "direction in every scan. Errors of opposite direction on two scanners cancel. The goal is for its mean size "
        "over regions; an estimate without bias would leave about the standard error of such an average. The **error "
        "of a single scan** is averaged without its sign, so it includes the noise of the region's mean in the input, "
        "which the result keeps at coarse scales. The best filter is the one with the greatest PSNR to the full dose "
        "on that scan.",
    ),
    "imprint": (
        "Structures that only the MR shows",
        "Up to 12 spheres of 5 mm radius in white matter, as bright as grey matter in the MR and absent from the PET. "
        "Change of the result in a sphere, as a share of the contrast of grey and white matter in the noise-free PET. "
        "Noise alone is the error of the same means without spheres.",
    ),
    "blobs": (
        "Invented blobs",
        "No lesion is drawn, and 12 mm around the phantom's own are left out. A blob is a connected place in calm "
        "brain where the image, smoothed by 6 mm, exceeds the noise-free one by 3 standard deviations: of the full "
        "dose's error, or of the image's own. Counts are per litre.",
    ),
    "uncertainty": (
        "Uncertainty",
        "Preset `balanced` with its calibration: the uncertainty of the result over its error to the noise-free "
        "image, in the brain.",
    ),
}
"""Name of a table -> its title and what it shows."""
