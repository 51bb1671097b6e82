"""Published settings of DeepWeightFlow [1]_, to measure against.

Our defaults differ: matching to the mean and balanced scales; codes, see ``velocity``;
fresh noise, coupled by optimal transport in each batch if codes are components; the
Gaussian start; conditions at each layer with guidance; averaged weights and early stopping.
As published, with a hundred networks and no early stopping, samples are copies of training
networks.

References
----------
.. [1] Gupta et al., 2026, arXiv:2601.05052.
"""

from __future__ import annotations

from typing import TypeVar

from generators.flow.schedule import Schedule
from generators.flow.solver import Solver
from generators.generator import Generator

G = TypeVar("G", bound=Generator)


def paper_generator(
    kind: type[G],
    *,
    components: int | None = 99,
    width: int = 512,
    source: float = 0.01,
    batch_size: int = 8,
    iterations: int = 30_000,
    seed: int = 0,
) -> G:
    """Return a generator with the published settings, to measure against.

    The defaults are those for perceptrons. Differs from the publication: matching
    starts from the input side instead of the given order, and ends at a sweep without
    gain.
    """
    schedule = Schedule(
        iterations=iterations,
        batch_size=batch_size,
        decay=0.0,
        coupling="independent",
        source="fixed",
        sigma=1e-3,
        keep="lowest_batch",
        every=500,
    )
    settings = {
        "components": components,
        "whiten": False,
        "shrinkage": 0.0,
        "velocity": "published_mlp",
        "sizes": {"width": width, "embedding": 64, "dropout": 0.1},
        "source": source,
        "schedule": schedule,
        "solver": Solver("rk4", 99),
        "strategy": "reference",
        "reference": 0,
        "balance": False,
        "seed": seed,
    }
    return kind(**settings)
