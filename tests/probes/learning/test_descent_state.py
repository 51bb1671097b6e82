"""States of interrupted fits: what has changed is refused, and the fit begins anew."""

import pytest
import torch
from torch import nn

from catalog import CatalogError
from probes.learning.descent_state import Curve, DescentState, read_state, write_state


def fitted():
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return network, optimizer


@pytest.fixture
def path(tmp_path):
    network, optimizer = fitted()
    state = DescentState(3, Curve([3], [0.5], [1.0], [0.25]), network.state_dict())
    write_state(tmp_path / "state", state, "mine", network, optimizer)
    return tmp_path / "state"


def test_a_state_is_read_bit_for_bit(path):
    expected, at = fitted()
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    state = read_state(path, "mine", network, optimizer)
    assert (state.epoch, state.curve) == (3, Curve([3], [0.5], [1.0], [0.25]))
    for mine, theirs in zip(network.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        for name, value in at.state[theirs].items():
            assert torch.equal(optimizer.state[mine][name], value)


def test_a_flipped_bit_is_refused_by_name(path):
    whole = path.read_bytes()
    for byte in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[byte] ^= 1 << byte % 8
        path.write_bytes(changed)
        network, optimizer = fitted()
        before = network.weight.clone()
        with pytest.raises(CatalogError, match=str(path)):
            read_state(path, "mine", network, optimizer)
        assert torch.equal(network.weight, before)


def test_what_is_no_state_or_that_of_another_fit_is_refused(path):
    with pytest.raises(CatalogError, match="state of a fit with other networks"):
        read_state(path, "another", *fitted())
    path.write_bytes(b"x")
    with pytest.raises(CatalogError, match="not a readable safetensors file"):
        read_state(path, "mine", *fitted())
