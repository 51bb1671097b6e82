"""What changes a catalogue after it was written: columns, removal, joining, clearing."""
