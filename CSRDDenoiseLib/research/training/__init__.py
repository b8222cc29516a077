"""Training: subjects are split, simulated into a pool, cut into patches, and a denoiser is fitted to their residuals.

Read in this order: :mod:`config`, :mod:`split`, :mod:`pool`, :mod:`patches`, :mod:`objective`, :mod:`checkpoint`,
:mod:`loop`. Needs torch, numpy and scipy; nibabel only to read anatomies and PyYAML only to read a config file.
"""
