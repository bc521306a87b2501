import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from recbole_cfgdiff.diffusion.fast.kernels import dropped
from recbole_cfgdiff.diffusion.fast.sparse import ItemProjection, SparseRows, normalised, squared_norm

N_ITEMS, BATCH = 9, 6

seeds = st.integers(0, 2**32 - 1)


def a_matrix(seed):
    """Rows with some zeros, the first empty and the last full."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(BATCH, N_ITEMS, generator=generator, dtype=torch.float64)
    matrix *= torch.rand(BATCH, N_ITEMS, generator=generator) < 0.4
    matrix[0], matrix[-1] = 0, 1
    return matrix


def padded(rows):
    """The same vectors with entries of value 0 in the last row, as histories on an accelerator have them."""
    more = torch.full((4,), BATCH - 1), torch.tensor([0, 1, 1, 2]), torch.zeros(4, dtype=rows.values.dtype)
    parts = (torch.cat([part, extra]) for part, extra in zip((rows.row, rows.items, rows.values), more))
    return SparseRows(*parts, *rows.shape)


@given(seeds)
def test_sparse_rows_compute_what_the_matrix_does(seed):
    matrix = a_matrix(seed)
    table = torch.randn(N_ITEMS, 4, dtype=torch.float64)
    for rows in (SparseRows.of_dense(matrix), padded(SparseRows.of_dense(matrix))):
        torch.testing.assert_close(rows.dense(), matrix)
        torch.testing.assert_close(rows.times(table), matrix @ table)
        torch.testing.assert_close(rows.dot(table[:, 0]), matrix @ table[:, 0])
        torch.testing.assert_close(squared_norm(rows), matrix.square().sum(dim=1))
        torch.testing.assert_close(normalised(rows).dense(), F.normalize(matrix))
        torch.testing.assert_close(rows.scaled(torch.arange(BATCH)).dense(), torch.arange(BATCH)[:, None] * matrix)
        torch.testing.assert_close(rows.add_to(torch.ones_like(matrix)), matrix + 1)
        torch.testing.assert_close(rows.zeros().dense(), torch.zeros_like(matrix))
        torch.testing.assert_close(SparseRows.beside([rows, rows.zeros()]).times(table.repeat(2, 1)), matrix @ table)
        assert rows.counts().tolist() == (matrix != 0).sum(dim=1).tolist()
        assert rows.places()[: len(matrix.nonzero())].tolist() == [
            place for count in (matrix != 0).sum(dim=1).tolist() for place in range(count)
        ]


@given(seeds)
def test_rows_stand_beside_each_other(seed):
    matrix, other = a_matrix(seed), a_matrix(seed + 1)[:, :4]
    rows = SparseRows.beside([padded(SparseRows.of_dense(matrix)), SparseRows.of_dense(other)])
    torch.testing.assert_close(rows.dense(), torch.cat([matrix, other], dim=1))
    assert (rows.row.diff() >= 0).all()


@given(seeds)
def test_chosen_rows_are_shuffled_and_the_others_are_not(seed):
    rows = padded(SparseRows.of_dense(a_matrix(seed)))
    chosen = torch.arange(BATCH) % 2 == 1  # the last, which is full and padded, among them
    torch.manual_seed(seed)
    several = [rows.shuffled(chosen) for _ in range(9)]
    for shuffled in several:
        torch.testing.assert_close(shuffled.dense(), rows.dense())
        assert torch.equal(shuffled.row, rows.row)
        kept = ~chosen[rows.row]
        assert torch.equal(shuffled.items[kept], rows.items[kept])
        assert (shuffled.values[-4:] == 0).all()
    last = {tuple(shuffled.items[shuffled.row == BATCH - 1].tolist()) for shuffled in several}
    assert len(last) > 1


@given(seeds)
def test_a_projection_has_the_same_gradient_by_either_form(seed):
    matrix, projection = a_matrix(seed), ItemProjection(N_ITEMS, 4).double()
    gradients = []
    for x in (matrix, SparseRows.of_dense(matrix)):
        projection.zero_grad()
        projection(x).square().sum().backward()
        gradients.append(projection.weight.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dropout_prob", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_keeps_each_entry_alone_and_the_mean(dropout_prob):
    torch.manual_seed(0)
    x = torch.full((400, 1000), 3.0)
    for result in (dropped(x, dropout_prob), dropped(SparseRows.of_dense(x), dropout_prob).dense()):
        kept = (result != 0).float()
        assert kept.mean().item() == pytest.approx(1 - dropout_prob, abs=0.005)
        if 0 < dropout_prob < 1:
            assert result.max().item() == pytest.approx(3 / (1 - dropout_prob), rel=1e-4)
            # Neither rows nor columns, nor neighbours, which share a word of random bits, go together.
            deviation = (dropout_prob * (1 - dropout_prob)) ** 0.5
            assert kept.mean(dim=0).std().item() == pytest.approx(deviation / 400**0.5, rel=0.2)
            assert kept.mean(dim=1).std().item() == pytest.approx(deviation / 1000**0.5, rel=0.2)
            neighbours = torch.corrcoef(torch.stack([kept[:, :-1].flatten(), kept[:, 1:].flatten()]))
            assert abs(neighbours[0, 1]) < 0.01
