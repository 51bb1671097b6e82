"""Draw docs/phases.png, the picture of the README, from a catalogue with phases.

Example: python docs/picture.py phasezoo-data digits_mlp_phases
"""

from __future__ import annotations

import sys
from pathlib import Path

import catalog
from catalog.report.phase_pictures import phase_diagram


def main() -> None:
    """Draw the phases and maps of one zoo's last checkpoints."""
    folder, zoo = sys.argv[1:]
    store = catalog.open(folder)
    last = store.sql(f"SELECT max(step) FROM models WHERE zoo = '{zoo}'").fetchall()[0][0]
    figure = phase_diagram(store, zoo, last)
    figure.savefig(Path(__file__).with_name("phases.png"), dpi=90)


if __name__ == "__main__":
    main()
