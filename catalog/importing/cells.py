"""Load and temperature of imported runs, read from the columns that span the grid."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import CatalogError, closest
from catalog.formats.columns import Row

_SET = ("load_axis", "load", "temperature_axis", "temperature", "cell")


@dataclass(frozen=True)
class CellColumns:
    """The two columns whose values define a cell; runs of one cell differ in their seeds.

    Attributes
    ----------
    load, temperature : str
        New names of the columns of the runs, which hold numbers.
    stated : bool, default=True
        True if the user named the columns. If False, runs that lack one of the columns
        are left unchanged.
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
        """Return the columns that the user named, or those that the format knows, or None.

        Raises
        ------
        CatalogError
            If the user named only one of the two columns.
        """
        if (load is None) != (temperature is None):
            raise CatalogError(
                "A cell needs a load and a temperature. Give both: --load COL "
                "--temperature COL (in Python: load=, temperature=)"
            )
        if load is not None and temperature is not None:
            return cls(load, temperature)
        return None if known is None else cls(*known, stated=False)

    def fill(self, run: Row, where: str) -> None:
        """Add the columns of the grid to the columns of a run.

        Raises
        ------
        CatalogError
            If a column is missing or not a number, or the source already has columns of
            the grid.
        """
        values = [run.get(name) for name in (self.load, self.temperature)]
        numbers = [
            float(value)
            for value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        present = [name for name in _SET if run.get(name) is not None]
        if not self.stated and (present or len(numbers) < 2):
            return
        if present:
            raise CatalogError(
                f"{where} already has the column {present[0]!r}; leave out --load and "
                "--temperature."
            )
        flags = (("load", self.load), ("temperature", self.temperature))
        for (flag, name), value in zip(flags, values, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise CatalogError(
                    f"--{flag} {name} must be a column with a number for every run. Run "
                    f"{where} has {value!r}. {closest(name, run)}"
                )
        run["load_axis"], run["load"] = self.load, numbers[0]
        run["temperature_axis"], run["temperature"] = self.temperature, numbers[1]
        run["cell"] = f"{self.load}={values[0]} {self.temperature}={values[1]}"
