"""`target`: the smallest budget that reaches a loss."""
