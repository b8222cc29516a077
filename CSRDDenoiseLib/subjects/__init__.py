"""Your own scans: the table of subjects, what is wrong with it, and pairs of a low and a full dose."""
