"""Flow matching: a velocity that transports Gaussian noise to codes of networks."""
