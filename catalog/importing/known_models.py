"""Models of the Hub that a catalogue has already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from catalog.console.pasting import word
from catalog.errors import CatalogError
from catalog.quoting import literal
from catalog.schema import HUB_CHECKPOINTS, HUB_RUNS


class KnownModel(NamedTuple):
    """A checkpoint that was read from the Hub."""

    run_id: str
    step: int
    zoo: str
    source_name: str
    hub_model: str
    hub_file: str
    hub_tensors: str | None
    base_model: str | None
    hub_commit: str


_KEYS = {column.name for column in (*HUB_RUNS, *HUB_CHECKPOINTS)} & set(KnownModel._fields)


@dataclass(frozen=True)
class KnownModels:
    """All checkpoints of a catalogue that were read from the Hub, by name of the model."""

    models: dict[str, list[KnownModel]] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> KnownModels:
        """Read the catalogue in a folder; the result is empty if there is none."""
        from catalog.catalog import open_catalog

        if not (root / "manifests").is_dir():
            return cls()
        store = open_catalog(root)
        columns = {row[0] for row in store.sql("DESCRIBE models").fetchall()}
        if not columns >= _KEYS:  # nothing was read from the Hub yet
            return cls()
        rows = store.sql(
            f"SELECT {', '.join(KnownModel._fields)} FROM models "
            "WHERE hub_model IS NOT NULL ORDER BY source_name, step, run_id"
        ).fetchall()
        models: dict[str, list[KnownModel]] = {}
        for row in rows:
            known = KnownModel(*row)
            models.setdefault(known.hub_model, []).append(known)
        return cls(models)

    def has(
        self,
        zoo: str,
        name: str,
        repository: str,
        file: str,
        commit: str,
        patterns: str | None,
    ) -> bool:
        """Return True if a zoo has a commit of a model, with the same tensors.

        Parameters
        ----------
        zoo, name : str
            Name of the zoo, and of the network in it.
        repository, file, commit : str
            Model, file and commit to be read.
        patterns : str or None
            JSON of the patterns of the tensors to be read.

        Raises
        ------
        CatalogError
            If the zoo has other tensors of this commit, or another commit under this name.
        """
        for known in self.models.get(repository, ()):
            if known.zoo != zoo or known.hub_file != file:
                continue
            remove = word(f"run_id = {literal(known.run_id)}")
            replace = (
                f"To replace it: phasezoo rm {remove} --yes, then import again; or keep "
                "both: --zoo NAME"
            )
            if known.hub_commit == commit:
                if known.hub_tensors == patterns:
                    return True
                raise CatalogError(
                    f"The zoo {zoo!r} has this commit of {name}, with "
                    f"{known.hub_tensors or 'all'} tensors. {replace}"
                )
            if known.source_name == name:
                raise CatalogError(
                    f"The zoo {zoo!r} has {name} at the commit {known.hub_commit}; it is "
                    f"at {commit} now. {replace}; or name the commit: "
                    f"hf://{repository}@{commit}"
                )
        return False

    def base(self, zoo: str, repository: str) -> KnownModel | None:
        """Return the checkpoint that stands for a model: preferably of a zoo, or None."""
        candidates: Sequence[KnownModel] = self.models.get(repository, ())
        return min(candidates, key=lambda known: known.zoo != zoo, default=None)
