"""The model: networks, the EDM preconditioner around them, samplers, and the folder a trained model lives in."""
