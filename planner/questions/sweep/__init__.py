"""`sweep`: a whole grid of certified plans."""
