"""Time and memory of a run, beside the paper's setting on the same machine."""
