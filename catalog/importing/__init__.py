"""Import of published networks into the shards of a catalogue."""

from catalog.importing.networks import ImportSummary as ImportSummary
from catalog.importing.networks import import_networks as import_networks
from catalog.importing.source import import_source as import_source
