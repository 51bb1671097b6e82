"""Probes: one file each, one line here. Contract tests pick them up."""

from probes.kernel import KernelProbe as KernelProbe
from probes.linear import LinearProbe as LinearProbe
from probes.tucker import TuckerProbe as TuckerProbe
