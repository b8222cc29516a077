"""What a dose can be relative to."""

REFERENCE, TYPICAL = "full-dose reference", "typical full dose of the training"
