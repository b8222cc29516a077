"""The parts of the CSRDDenoise module: a thin shell in Slicer around the library CSRDDenoiseLib."""
