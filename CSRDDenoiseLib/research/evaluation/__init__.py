"""How good is it? Metrics, tuned baselines, experiments, tables and figures on simulated subjects."""
