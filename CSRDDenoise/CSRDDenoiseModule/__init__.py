"""The parts of the CSRDDenoise panel: parameters, logic, worker process, volumes, results and texts."""
