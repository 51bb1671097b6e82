"""The public contract of probes, for every registered one."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from probes.estimators import PROBES
from probes.targets import TASKS
from probes.testing import ProbeContract

SMALL = {"n_probes": 6, "n_projections": 6, "n_representation": 6, "validation": 0}
SMALL |= {"epochs": 30, "lr": 0.03}

CHEAP: dict[str, dict[str, object]] = {
    "tucker": {"ranks": (1, 4), "folds": 3},
    "probex": SMALL,
    "mvprobe": SMALL,
}
"""Parameters that make a probe fast enough for tests, by its name."""

QUICK = {name: {"epochs": 12, "lr": 0.08} for name in ("probex", "mvprobe")}
"""Fewer epochs, enough for scikit-learn's own thresholds, which are low."""

EXPECTED: dict[str, dict[str, str]] = {}
"""scikit-learn's checks that a probe fails, by its name, and why."""

CHOOSES = ("kernel", "linear", "statistics", "tucker")
"""Probes that choose something on held-out groups."""


def test_there_are_probes():
    assert "linear" in PROBES


@parametrize_with_checks(
    [
        PROBES[name](**CHEAP.get(name, {}) | {"task": task} | QUICK.get(name, {}))
        for name in PROBES
        for task in TASKS
    ],
    expected_failed_checks=lambda probe: EXPECTED.get(probe.name, {}),
)
def test_sklearn(estimator, check):
    check(estimator)


for name in PROBES:
    globals()[f"Test_{name}"] = type(
        f"Test_{name}",
        (ProbeContract,),
        {
            "kind": PROBES[name],
            "settings": CHEAP.get(name, {}),
            "holds_out_groups": name in CHOOSES,
            "test_sklearn": None,  # each check is a test above
        },
    )
