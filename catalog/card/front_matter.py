"""YAML front matter of a published card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.card.destination import Destination
from catalog.card.facts import VIEWER_LIMIT, Facts
from catalog.card.licences import licence_lines, stated_line
from catalog.printable import yaml_text
from catalog.storage.card import Free, configuration_lines

TAGS = ("model-zoo", "weight-space-learning", "neural-network-weights", "phasezoo")

_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


def front_matter(
    facts: Facts,
    destination: Destination,
    *,
    licences: Sequence[str],
    stated: Mapping[str, str],
    configs: Mapping[str, Sequence[str]],
    default: str,
    free: Free,
) -> list[str]:
    """Return the lines between the two rules, both included.

    Parameters
    ----------
    licences : sequence of str
        All licences of the zoos.
    stated : mapping of str to str
        Licences that publishers stated for zoos that state none.
    configs : mapping of str to sequence of str
        Files by configuration.
    default : str
        Default configuration.
    free : dict
        Types of undocumented columns, by file and then by column name.
    """
    comments = {
        name: f"{name}: a row group has {size / 2**20:,.0f} MiB; the Hub's viewer refuses "
        f"more than {VIEWER_LIMIT / 2**20:,.0f} MiB. Everything else reads it."
        for name, size in facts.too_large.items()
    }
    return [
        "---",
        *licence_lines(licences),
        *([stated_line(stated)] if stated else []),
        f"pretty_name: {yaml_text(destination.name)}",
        "tags:",
        *(f"- {tag}" for tag in TAGS),
        "size_categories:",
        f"- {size_category(facts.checkpoints)}",
        *configuration_lines(configs, free, default=default, comments=comments),
        "---",
    ]


def size_category(rows: int) -> str:
    """Return the category of the Hub for a number of rows.

    Examples
    --------
    >>> size_category(3), size_category(1000), size_category(10**13)
    ('n<1K', '1K<n<10K', 'n>1T')
    """
    if rows < 1000:
        return "n<1K"
    power = len(str(rows)) - 4
    if power >= len(_SIZES) - 1:
        return f"n>{_SIZES[-1]}"
    return f"{_SIZES[power]}<n<{_SIZES[power + 1]}"
