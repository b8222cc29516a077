"""Validation on your own scans: what a physicist puts in a paper, of pairs of a low and a full dose."""
