"""Dynamic PET: the pipeline frame by frame, its outputs, its result and its page."""
