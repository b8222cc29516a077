"""The quality report: tables and figures of one run."""
