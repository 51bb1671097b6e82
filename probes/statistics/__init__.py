"""Statistics of tensors, and regression on these statistics."""
