"""Before the model: registration, alignment to the grid of the model, normalisation."""
