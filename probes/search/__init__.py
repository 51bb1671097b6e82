"""The verb `search`: networks ranked by how near they are to a text.

Text probes and encoders live in `probes.text`.
"""
