"""Section of a published card on how to query, download and cite."""

from __future__ import annotations

from catalog.card.destination import Destination
from catalog.card.markdown import block
from catalog.console.pasting import word


def use_lines(destination: Destination, default: str) -> list[str]:
    """Return the lines of the section; ``default`` is the default configuration."""
    place = word(destination.address)
    dataset = destination.repository or destination.address
    weights = f"load_dataset({dataset!r}, ARCH_ID, split='train', streaming=True)"
    return [
        "## Use",
        "",
        "Query where it is, without downloading the weights (`pip install phasezoo`):",
        "",
        *block(
            'phasezoo sql "SELECT zoo, count(*) AS checkpoints, max(test_accuracy) AS best '
            f'FROM models GROUP BY zoo" --catalog {place}'
        ),
        "Download all of it, or read some networks alone:",
        "",
        *block(f"phasezoo fetch {place} --catalog zoo"),
        *block(
            "import catalog",
            f"store = catalog.open({destination.address!r})",
            'population = store.load("step = steps LIMIT 10")',
            "print(population.weights.shape)",
        ),
        f"With `datasets` (the default configuration is `{default}`):",
        "",
        *block(
            "from datasets import load_dataset",
            f"models = load_dataset({dataset!r}, split='train')",
            f"weights = {weights}  # an arch_id of models",
        ),
        "Cite it with this entry, which names the version and a hash of its content; "
        "`phasezoo cite` prints that of the newest version:",
        "",
        *block(*destination.bibtex.split("\n")),
        "The files can be read with any program: the weights of a checkpoint are row `row` "
        "of `weights/<arch_id>/<shard>.parquet`, one column per tensor. `croissant.json` "
        "describes the same files as JSON-LD.",
        "",
    ]
