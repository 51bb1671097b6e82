"""Command `phasezoo probe`: fitting, saving and applying probes."""
