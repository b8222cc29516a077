"""The process that denoises for Slicer: JSON lines in, JSON lines out."""
