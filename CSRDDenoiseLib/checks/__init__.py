"""Checks of the input and of the result."""
