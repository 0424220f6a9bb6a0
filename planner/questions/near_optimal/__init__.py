"""`near-optimal`: all recipes almost as good as the best."""
