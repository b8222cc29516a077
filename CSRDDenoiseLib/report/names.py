"""How numbers are called that the report and the panel of the Slicer module both show; light, loads no library."""

NOISE_NAME = "Noise in a flat cube of 20 mm"
NOISE_DEFINITION = "standard deviation over mean, in the 20 mm cube of the brain where the smoothed PET is flattest"
"""The noise before and after (see :mod:`CSRDDenoiseLib.report.summary`), and how it is measured."""
