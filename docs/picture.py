"""Draw docs/phases.png, the picture of the README, from a trained catalogue.

Example: python docs/picture.py phasezoo-data digits_mlp_phases
"""

from __future__ import annotations

import sys
from pathlib import Path

import catalog
from catalog.report.pictures import phase_maps


def main() -> None:
    """Draw the maps of one zoo."""
    folder, zoo = sys.argv[1:]
    figure = phase_maps(catalog.open(folder), zoo)
    figure.savefig(Path(__file__).with_name("phases.png"), dpi=110)


if __name__ == "__main__":
    main()
