"""Load and temperature of imported runs: which of their columns span the grid."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import CatalogError, closest
from catalog.formats.columns import Row

_SET = ("load_axis", "load", "temperature_axis", "temperature", "cell")


@dataclass(frozen=True)
class CellColumns:
    """The two columns whose values make a cell; runs of one cell differ by their seed.

    Attributes
    ----------
    load, temperature : str
        Columns of the runs, under their new names; numbers.
    stated : bool, default=True
        Somebody asked for them; otherwise runs without both are left as they are.
    """

    load: str
    temperature: str
    stated: bool = True

    @classmethod
    def of(
        cls,
        load: str | None,
        temperature: str | None,
        known: tuple[str, str] | None = None,
    ) -> CellColumns | None:
        """What was asked for, or else what a format knows, or nothing.

        Raises
        ------
        CatalogError
            If only one of both was asked for.
        """
        if (load is None) != (temperature is None):
            raise CatalogError(
                "A cell has a load and a temperature. Give both: --load COL --temperature "
                "COL (in Python: load=, temperature=)"
            )
        if load is not None and temperature is not None:
            return cls(load, temperature)
        return None if known is None else cls(*known, stated=False)

    def fill(self, run: Row, where: str) -> None:
        """Add the columns of the grid to those of a run.

        Raises
        ------
        CatalogError
            If a column is absent or no number, or the source states its cells itself.
        """
        values = [run.get(name) for name in (self.load, self.temperature)]
        numbers = [
            float(value)
            for value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        given = [name for name in _SET if run.get(name) is not None]
        if not self.stated and (given or len(numbers) < 2):
            return
        if given:
            raise CatalogError(
                f"{where} has the column {given[0]!r} already; leave out --load and "
                "--temperature."
            )
        flags = (("load", self.load), ("temperature", self.temperature))
        for (flag, name), value in zip(flags, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise CatalogError(
                    f"{where}: --{flag} {name} must be a column of numbers in every run. "
                    f"Got {value!r}. {closest(name, run)}"
                )
        run["load_axis"], run["load"] = self.load, numbers[0]
        run["temperature_axis"], run["temperature"] = self.temperature, numbers[1]
        run["cell"] = f"{self.load}={values[0]} {self.temperature}={values[1]}"
