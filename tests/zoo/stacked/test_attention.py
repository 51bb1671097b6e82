"""Attention, embeddings and products against torch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from zoo.stacked import attention, embedding, linear_columns, product

SMALL, SEED = st.integers(1, 4), st.integers(0, 10_000)
AROUND_LANES = st.sampled_from([1, 3, 15, 16, 17, 32])
"""Sizes on both sides of the choices of `linear.bmm`."""


def draws(seed, *shapes):
    draw = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
    return [tensor.requires_grad_() for tensor in made]


def derivatives(out, leaves):
    """Value, gradients, and the gradients of a function of the gradients."""
    draw = torch.Generator().manual_seed(1)
    along = torch.randn(out.shape, generator=draw, dtype=out.dtype)
    first = torch.autograd.grad(out, leaves, along * out, create_graph=True)
    slope = sum((g * g.cos()).sum() for g in first)
    return [out, *first, *torch.autograd.grad(slope, leaves)]


def agree(ours, theirs):
    for mine, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-8, atol=1e-9)


@given(SMALL, SMALL, SMALL, SMALL, st.sampled_from([1, 5, 16]), st.booleans(), SEED)
def test_attention_is_torchs(nets, batch, heads, size, tokens, causal, seed):
    leaves = draws(seed, *[(nets, heads * size, batch * tokens)] * 3)
    split = (nets, heads, size, batch, tokens)
    q, k, v = (t.view(split).permute(0, 3, 1, 4, 2).flatten(0, 1) for t in leaves)
    with sdpa_kernel(SDPBackend.MATH):
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        out = out.view(nets, batch, heads, tokens, size).permute(0, 2, 4, 1, 3)
        wanted = derivatives(out.reshape(leaves[0].shape), leaves)
    ours = attention(*leaves, tokens, heads, causal=causal)
    agree(derivatives(ours, leaves), wanted)


def test_a_causal_position_sees_itself_and_what_is_before():
    q, k, v = draws(0, *[(1, 4, 2 * 6)] * 3)
    out = attention(q, k, v, 6, 2, causal=True).view(4, 2, 6)
    seen = torch.stack(
        [
            torch.autograd.grad(out[:, 0, t].sum(), v, retain_graph=True)[0]
            .view(4, 2, 6)
            .abs()
            .sum(0)
            > 0
            for t in range(6)
        ]
    )
    assert torch.equal(seen[:, 0], torch.ones(6, 6, dtype=torch.bool).tril())
    assert not seen[:, 1].any()


@given(SMALL, AROUND_LANES, SMALL, AROUND_LANES, SEED)
def test_products_are_torchs_in_any_orientation(nets, rows, inner, columns, seed):
    leaves = draws(seed, (nets, rows, inner), (nets, inner, columns))
    wanted = derivatives(torch.matmul(*leaves), leaves)
    agree(derivatives(product(*leaves), leaves), wanted)
    plus = torch.randn(rows, columns, dtype=torch.float64)
    assert torch.allclose(product(*leaves, plus), torch.matmul(*leaves) + plus)


@given(SMALL, AROUND_LANES, SMALL, AROUND_LANES, st.booleans(), SEED)
def test_linear_maps_of_columns_are_torchs(nets, inputs, outputs, m, biased, seed):
    shapes = [(nets, inputs, m), (nets, outputs, inputs), (nets, outputs)]
    leaves = draws(seed, *shapes[: 2 + biased])
    wanted = torch.matmul(leaves[1], leaves[0])
    if biased:
        wanted = wanted + leaves[2][:, :, None]
    agree(derivatives(linear_columns(*leaves), leaves), derivatives(wanted, leaves))


def test_each_network_looks_up_its_own_table():
    (table,) = draws(0, (3, 7, 4))
    ids = torch.randint(7, (3, 5), generator=torch.Generator().manual_seed(0))
    rows = [functional.embedding(i, t) for i, t in zip(ids, table, strict=True)]
    wanted = torch.stack(rows).mT
    agree(derivatives(embedding(ids, table), [table]), derivatives(wanted, [table]))


def test_a_token_beyond_the_table_is_no_row_of_the_next_network():
    with pytest.raises(RuntimeError, match="out of bounds"):
        embedding(torch.tensor([[0], [7]]), torch.randn(2, 7, 4))
