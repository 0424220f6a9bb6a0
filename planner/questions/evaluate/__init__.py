"""`evaluate`: how good is a recipe that somebody already has."""
