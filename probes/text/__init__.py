"""Probes that embed networks and texts in one space, for zero-shot classes and search.

An encoder is any callable that takes texts and returns an array (m, e).
"""

from catalog.plugins.registry import Registry
from probes.probe import Probe
from probes.text.aligned import nearest_names as nearest_names
from probes.text.bilinear import TextBilinear as TextBilinear
from probes.text.encoder import Encoder as Encoder
from probes.text.probe import TextProbe as TextProbe
from probes.text.ranking import search as search
from probes.text.ridge import TextRidge as TextRidge

TEXT_PROBES: Registry[type[Probe]] = Registry("text probe", Probe, __name__)
