"""Recovery of lineage from weights: model trees, parents and reused modules."""

from probes.lineage.distances import by_tensor as by_tensor
from probes.lineage.distances import relative as relative
from probes.lineage.distances import squared_distances as squared_distances
from probes.lineage.reuse import Reuse as Reuse
from probes.lineage.reuse import find_reuse as find_reuse
from probes.lineage.router import Router as Router
from probes.lineage.router import Routes as Routes
from probes.lineage.router import clustered as clustered
from probes.lineage.sharing import Shared as Shared
from probes.lineage.sharing import frozen_tensors as frozen_tensors
from probes.lineage.sharing import shared_tensors as shared_tensors
from probes.lineage.survey import lineage_of as lineage_of
from probes.lineage.tree import Links as Links
from probes.lineage.tree import kurtosis as kurtosis
from probes.lineage.tree import recover_parents as recover_parents
