"""After the network: the residual on the PET's grid, what is kept of the measured PET, the expected error."""
