"""Numbers that describe tensors, and regression on them."""
