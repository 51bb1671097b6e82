"""Dataset card of a published catalogue: README.md, croissant.json, and what they show.

The card is computed by SQL from the metadata that is published. It is derived: no reader of
a catalogue needs it. Text from the catalogue is data and is escaped for YAML and Markdown.
"""
