"""The way of a volume: read -> align -> normalise -> sample -> restore -> write."""
