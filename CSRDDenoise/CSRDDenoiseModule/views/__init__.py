"""What the scene shows of a result; display, then plots, comparison, full dose, and results, which the panel uses."""
