"""The statistics of a reader study, one file per question; :mod:`.analyse` runs them all."""
