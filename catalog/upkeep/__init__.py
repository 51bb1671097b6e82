"""Maintenance of a catalogue: added columns, removal, compaction, collection, repair."""
