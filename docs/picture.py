"""Draw the pictures of the README from a catalogue with phases and downstream columns.

Example: python docs/picture.py phasezoo-data digits_mlp_phases
"""

from __future__ import annotations

import sys
from pathlib import Path

import catalog
from catalog.quoting import literal
from catalog.report.downstream import barriers_over_load
from catalog.report.phase_pictures import phase_diagram


def main() -> None:
    """Draw the phases of one zoo's last checkpoints, and its barriers by load."""
    folder, zoo = sys.argv[1:]
    store = catalog.open(folder)
    query = f"SELECT max(step) FROM models WHERE zoo = {literal(zoo)}"
    last = store.sql(query).fetchall()[0][0]
    for name, figure in (
        ("phases", phase_diagram(store, zoo, last)),
        ("barriers", barriers_over_load(store, zoo)),
    ):
        figure.savefig(Path(__file__).with_name(f"{name}.png"), dpi=90)


if __name__ == "__main__":
    main()
