"""Version of the package; all other code reads it from here."""

__version__ = "0.1.0"
