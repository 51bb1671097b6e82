"""Who descends from whom, whatever a catalogue says."""

import pytest

from probes.judging.kinship import ancestors, branch, families


@pytest.mark.parametrize(
    "parents",
    [
        {"a": ["a"]},
        {"a": ["b"], "b": ["a"]},
        {"a": ["b"], "b": ["c"], "c": ["b"]},
        {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]},
    ],
)
def test_parents_in_a_circle_come_to_an_end(parents) -> None:
    for run in parents:
        assert branch(run, parents) in {*parents, "c"}
        assert ancestors(run, parents) <= {*parents, "c"}
    assert len(set(families(list(parents), parents).tolist())) == 1
