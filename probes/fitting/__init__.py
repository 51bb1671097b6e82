"""The verb `phasezoo probe`: from a question to a kept probe and its predictions."""
