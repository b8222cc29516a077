"""The statistics of a reader study, one file a question; :mod:`.analyse` asks them all."""
