"""What may be done to sampled networks with training data before they are judged."""

from generators.calibration.batch_norm import BatchNorm as BatchNorm
from generators.calibration.head import Head as Head
from generators.calibration.head_steps import HeadSteps as HeadSteps
from generators.calibration.repair import Repair as Repair
