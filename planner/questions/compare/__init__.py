"""`compare-supervised`: distillation against supervised training over budgets and students."""
