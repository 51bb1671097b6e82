"""Symmetries of networks: reorder units, match them, and choose one representative.

The axis symbols are part of the stored layout, so no function of this package needs a
model.
"""

from catalog.alignment.canonicaliser import Canonicaliser as Canonicaliser
from catalog.alignment.canonicaliser import Symmetries as Symmetries
from catalog.alignment.cycle import universe as universe
from catalog.alignment.matching import Matching as Matching
from catalog.alignment.matching import match as match
from catalog.alignment.permutation import Permutations as Permutations
from catalog.alignment.permutation import compose as compose
from catalog.alignment.permutation import invert as invert
from catalog.alignment.permutation import permute as permute
from catalog.alignment.permutation import random_permutations as random_permutations
from catalog.alignment.scales import balance as balance
from catalog.alignment.scales import normalise as normalise
from catalog.alignment.scales import rescale as rescale
from catalog.alignment.scales import scalable as scalable
from catalog.alignment.self_test import Outputs as Outputs
from catalog.alignment.self_test import SymmetryBroken as SymmetryBroken
from catalog.alignment.self_test import check_symmetries as check_symmetries
