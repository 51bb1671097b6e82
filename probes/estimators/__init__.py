"""Probes: one file each, one line here. Contract tests pick them up."""

from probes.estimators.mvprobe import MVProbe as MVProbe
from probes.estimators.probex import ProbeX as ProbeX
