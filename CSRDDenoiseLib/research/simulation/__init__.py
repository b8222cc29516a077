"""A PET/MR scanner in software: anatomy -> tracer uptake -> counts -> OSEM, the source of every training pair.

Read in this order: :mod:`anatomy` (who), :mod:`tracer` and :mod:`lesions` (what), :mod:`magnetic` (the MR),
:mod:`scanner` and :mod:`projector` (how it is measured), :mod:`osem` (how it is reconstructed), :mod:`subject`
(all of it). Needs torch, numpy and scipy; nibabel only to read and write files.
"""
