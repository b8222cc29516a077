"""The report of a reader study: tables, figures and words, as one HTML page and as files."""
