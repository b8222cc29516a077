"""After the network: the residual on the PET's grid, the measured PET kept at coarse scales, the expected error."""
