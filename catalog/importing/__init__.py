"""Networks that somebody else published become shards of a catalogue."""

from catalog.importing.networks import ImportSummary as ImportSummary
from catalog.importing.networks import import_networks as import_networks
from catalog.importing.networks import import_source as import_source
