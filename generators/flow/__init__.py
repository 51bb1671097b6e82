"""Flow matching: a velocity that takes Gaussian noise to codes of networks."""
