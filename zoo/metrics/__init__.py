"""Measured properties: one file each, one line here."""
