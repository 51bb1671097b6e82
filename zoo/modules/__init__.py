"""Networks of a catalogue as torch modules and datasets, and back.

Training never passes through here.
"""
