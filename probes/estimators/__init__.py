"""Registry of probes: one module and one import line each; contract tests cover all."""

from catalog.plugins.registry import Registry
from probes.estimators.kernel import KernelProbe as KernelProbe
from probes.estimators.linear import LinearProbe as LinearProbe
from probes.estimators.mvprobe import MVProbe as MVProbe
from probes.estimators.probex import ProbeX as ProbeX
from probes.estimators.statistics_probe import StatisticsProbe as StatisticsProbe
from probes.estimators.tree import TreeProbe as TreeProbe
from probes.estimators.tucker import TuckerProbe as TuckerProbe
from probes.probe import Probe

PROBES: Registry[type[Probe]] = Registry("probe", Probe, __name__)
