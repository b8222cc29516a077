"""Files: geometry, reading, writing, records."""
