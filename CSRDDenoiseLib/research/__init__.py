"""Simulation, training, evaluation and benchmark; not in the Slicer package."""
