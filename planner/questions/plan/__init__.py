"""`plan`: from a budget to a proven recipe."""
