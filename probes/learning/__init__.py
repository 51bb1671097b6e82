"""What probes that gradient descent learns share."""
