"""Settings of metrics as text."""

import pytest

from catalog import CatalogError
from zoo.metrics import metrics
from zoo.metrics.settings import with_settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cka.split=foo", "one of train, validation, test. Got 'foo'"),
        ("hessian.split=foo", "one of train, validation, test. Got 'foo'"),
        ("gradient_noise.split=foo", "one of train, validation, test. Got 'foo'"),
        ("scores.samples=0", "at least 2. Got 0"),
        ("mode_connectivity.lr=nan", "must be a finite number or null. Got 'nan'"),
        ("mode_connectivity.optimizer=sdg", "Closest: sgd"),
        ("mode_connectivity.points=4", "odd and at least 3"),
    ],
)
def test_a_value_that_a_metric_refuses_is_said_with_the_option(text, message):
    with pytest.raises(CatalogError, match=message):
        with_settings(list(metrics()), [text])


@pytest.mark.parametrize("metric", metrics().values(), ids=metrics())
def test_errors_stand_beside_what_they_are_of(metric):
    names = [column.name for column in metric.columns]
    assert len(names) == len(set(names))
    assert all(name[:-3] in names for name in names if name.endswith("_se"))
