"""Estimators that learn from the weights of networks, with the scikit-learn API.

X is a plain array (n, d) of weights; a probe that needs the structure of the networks takes
``layout=``.
"""

from probes.exact.sweep import sweep as sweep
from probes.file import load as load
from probes.file import save as save
from probes.probe import Probe as Probe

__all__ = ["Probe", "load", "save", "sweep"]
