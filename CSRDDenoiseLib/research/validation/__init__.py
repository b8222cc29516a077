"""Validation on a user's pairs of a low and a full dose: scores, statistics, tables and figures for a paper."""
