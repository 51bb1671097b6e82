"""Section of a published card on how to query, download and cite."""

from __future__ import annotations

from catalog.card.destination import Destination
from catalog.card.markdown import block
from catalog.console.pasting import word
from catalog.quoting import literal


def use_lines(destination: Destination, default: str, arch_id: str | None) -> list[str]:
    """Return the lines of the section.

    Parameters
    ----------
    destination : Destination
    default : str
        Default configuration.
    arch_id : str, optional
        Architecture of the networks that the example reads; None if there are no weights.
    """
    place = word(destination.address)
    dataset = destination.repository or destination.address
    extra = "[hub]" if destination.repository else ""
    extra = "[s3]" if destination.address.startswith("s3://") else extra
    read = [] if arch_id is None else [f"arch_id = {literal(arch_id)} LIMIT 10"]
    weights = f"load_dataset({dataset!r}, ARCH_ID, split='train', streaming=True)"
    return [
        "## Use",
        "",
        "Query where it is, without downloading the weights "
        f"(`pip install 'phasezoo{extra}'`):",
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
            'print(store.sql("FROM models LIMIT 10"))',
            *(f"print(store.load({where!r}).weights.shape)" for where in read),
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
