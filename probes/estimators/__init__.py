"""Probes: one file each, one line here. Contract tests pick them up."""

from probes.kernel import KernelProbe as KernelProbe
from probes.lineage.tree_probe import TreeProbe as TreeProbe
from probes.linear import LinearProbe as LinearProbe
from probes.mvprobe import MVProbe as MVProbe
from probes.probex import ProbeX as ProbeX
from probes.statistics_probe import StatisticsProbe as StatisticsProbe
from probes.tucker import TuckerProbe as TuckerProbe
