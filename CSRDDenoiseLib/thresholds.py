"""What counts as head and as brain in a PET, relative to its bright part; a light module, so that the panel may ask."""

HEAD_THRESHOLD = 0.12
"""Of the bright level (:data:`BRIGHT_QUANTILE`): more is head, less is air."""

BRAIN_THRESHOLD = 0.4
"""Of the bright level of the head, or of the brain mean: more is brain."""

BRIGHT_QUANTILE = 0.99

LONGEST_HEAD_MM = 330.0
"""From the vertex down; what is longer is head and trunk, or a whole body."""

HEAD_LENGTH_MM = 250.0
"""What is taken for the head of a longer body: from the vertex to the neck."""
REGION_MARGIN_MM = 16.0
"""Around a region, what the network sees beside it; more changes the estimate no further (docs/performance.md)."""
