"""`explain`: what the law says around a plan."""
