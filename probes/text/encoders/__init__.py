"""Text encoders with a name: one file each, one line here."""

from probes.text.encoders.clip import CLIP as CLIP
from probes.text.encoders.minilm import MiniLM as MiniLM
from probes.text.encoders.ngrams import NGrams as NGrams
