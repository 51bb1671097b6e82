"""Calibrations of sampled networks with training data, before they are judged."""

from catalog.plugins.registry import Registry
from generators.calibration.batch_norm import BatchNorm as BatchNorm
from generators.calibration.calibration import Calibration
from generators.calibration.head import Head as Head
from generators.calibration.head import HeadSteps as HeadSteps
from generators.calibration.repair import Repair as Repair

CALIBRATIONS: Registry[type[Calibration]] = Registry("calibration", Calibration, __name__)
