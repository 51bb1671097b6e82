"""Licences of a published catalogue: of every zoo, and of the repository as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from catalog.printable import yaml_text

_NAMES = """
afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause
bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0
cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0
cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m deepfloyd-if-license ecl-2.0
epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gemma gfdl gpl gpl-2.0 gpl-3.0 h-research
intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3 llama3.1 llama3.2 llama3.3
llama4 lppl-1.3c mit mpl-2.0 ms-pl mulanpsl-2.0 ncsa odbl odc-by ofl-1.1 openrail openrail++
osl-3.0 pddl postgresql unlicense wtfpl zlib"""

KNOWN = frozenset(_NAMES.split())
"""Licences that the Hub knows by name; it refuses a card with another one."""

_STATED = "# Licence of zoos that state none: "
_LONGEST_NAME = 100


def licence_lines(licences: Sequence[str]) -> list[str]:
    """Return the YAML lines that state the licence of a repository.

    Parameters
    ----------
    licences : sequence of str
        All licences of its zoos, each once. Several, or one that the Hub does not know, are
        `other`, with a name made from them.
    """
    names = sorted({licence.strip().lower() for licence in licences})
    if len(names) == 1 and names[0] in KNOWN:
        return [f"license: {yaml_text(names[0])}"]
    if not names:
        return []
    parts = [re.sub(r"[^a-z0-9.]+", "-", name).strip("-") for name in names]
    joined = "-and-".join(part for part in parts if part)[:_LONGEST_NAME].strip("-.")
    name = yaml_text(joined or "other")
    return ["license: other", f"license_name: {name}", "license_link: README.md"]


def stated_line(stated: Mapping[str, str]) -> str:
    """Return a comment of YAML with the licences that publishers stated for their zoos."""
    return _STATED + json.dumps(dict(sorted(stated.items())))


def stated_in(readme: str) -> dict[str, str]:
    """Return the licences that an earlier card states for zoos that state none.

    A comment that is damaged states nothing.
    """
    for line in readme.splitlines():
        if line.startswith(_STATED):
            try:
                value = json.loads(line.removeprefix(_STATED))
            except (ValueError, RecursionError):
                return {}
            pairs = value.items() if isinstance(value, dict) else ()
            return {zoo: name for zoo, name in pairs if isinstance(name, str) and name}
    return {}
