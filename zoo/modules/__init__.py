"""Conversion of networks of a catalogue to torch modules and datasets, and back.

Training does not use this package.
"""
