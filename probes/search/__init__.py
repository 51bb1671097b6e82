"""Command `search`: ranking of networks by similarity to a text.

Text probes and encoders live in `probes.text`.
"""
