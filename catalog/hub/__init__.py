"""Models of the Hugging Face Hub: addresses, cards, and tensors read by ranges of bytes."""
