"""Phase labels of the cells of a zoo, computed from metrics of their networks.

A phase belongs to a (cell, step), not to a network: the seeds of a cell are averaged.
The package needs no torch.
"""

from zoo.phases.agreement import agreement as agreement
from zoo.phases.calibration import PhaseCalibration as PhaseCalibration
from zoo.phases.calibration import find_cutoffs as find_cutoffs
from zoo.phases.cells import Cells as Cells
from zoo.phases.cells import cell_means as cell_means
from zoo.phases.contiguity import contiguity as contiguity
from zoo.phases.label import Labels as Labels
from zoo.phases.label import label_cells as label_cells
from zoo.phases.rule import PHASES as PHASES
from zoo.phases.rule import UNMEASURED as UNMEASURED
from zoo.phases.rule import Cutoff as Cutoff
from zoo.phases.rule import Cutoffs as Cutoffs
from zoo.phases.store import label_zoo as label_zoo
