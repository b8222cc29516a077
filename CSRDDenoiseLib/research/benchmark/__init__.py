"""How long a run takes and how much memory it needs, beside the paper's setting on the same machine."""
