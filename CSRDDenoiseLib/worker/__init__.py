"""The process that works for Slicer: JSON lines in, JSON lines out."""
