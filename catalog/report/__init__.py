"""Report of a catalogue as one HTML page with figures and tables.

The package imports nothing here, because its modules and `catalog.show` use each other.
"""
