"""Inference: samplers over the denoiser of a whole volume."""
