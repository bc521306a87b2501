"""Sparse vectors over the items, and linear maps of them that cost what their entries cost.

400 histories of 50 of 2,811 items through 1,000 units, with the gradient, take 8.4 ms where the product of matrices
takes 47.6 (``benchmarks/kernels.py``, one thread).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

# The least length that a vector is divided by when it is normalised: torch.nn.functional.normalize's.
_MIN_NORM = 1e-12


@dataclass(frozen=True)
class SparseRows:
    """Sparse vectors, one a row: ``vectors[row[e], items[e]] += values[e]``.

    Args:
        row: row of each entry, ascending, int64, shape ``(E,)``.
        items: item of each entry, int64, shape ``(E,)``.
        values: float, shape ``(E,)``; entries of value 0 may be there as padding.
        n_rows: number of rows ``B``.
        n_items: number of items ``n``.
    """

    row: torch.Tensor
    items: torch.Tensor
    values: torch.Tensor
    n_rows: int
    n_items: int

    @classmethod
    def of_dense(cls, matrix: torch.Tensor) -> SparseRows:
        """The nonzero entries of a matrix of shape ``(B, n)``."""
        row, items = matrix.nonzero(as_tuple=True)
        return cls(row, items, matrix[row, items], *matrix.shape)

    def __len__(self) -> int:
        return self.n_rows

    @property
    def shape(self) -> tuple[int, int]:
        """``(B, n)``."""
        return self.n_rows, self.n_items

    def dense(self) -> torch.Tensor:
        """Shape ``(B, n)``."""
        return self.add_to(self.values.new_zeros(self.shape))

    def add_to(self, matrix: torch.Tensor) -> torch.Tensor:
        """Add the entries to a matrix of shape ``(B, n)`` in place, and return it."""
        return matrix.index_put_((self.row, self.items), self.values.to(matrix.dtype), accumulate=True)

    def scaled(self, factor: torch.Tensor) -> SparseRows:
        """Each row times its ``factor``, of shape ``(B,)`` or ``(1,)``."""
        return replace(self, values=self.values * factor.to(self.values.dtype).expand(self.n_rows)[self.row])

    def zeros(self) -> SparseRows:
        """Vectors of the same shape without an entry."""
        return replace(self, row=self.row[:0], items=self.items[:0], values=self.values[:0])

    def normalised(self) -> SparseRows:
        """The function ``normalised``, of these."""
        return self.scaled(inverse_norm(self.squared_norm()))

    def counts(self) -> torch.Tensor:
        """Number of entries of each row that are not 0, int64, shape ``(B,)``."""
        return self.row.new_zeros(self.n_rows).index_add_(0, self.row, (self.values != 0).long())

    def places(self) -> torch.Tensor:
        """Of each entry, how many come before it in its row, int64, shape ``(E,)``."""
        starts = torch.searchsorted(self.row, torch.arange(self.n_rows, device=self.row.device))
        return torch.arange(len(self.row), device=self.row.device) - starts[self.row]

    def shuffled(self, chosen: torch.Tensor) -> SparseRows:
        """The ``chosen`` rows, a boolean of shape ``(B,)``, with their entries in random order, those of value 0 last;
        the other rows as they are."""
        key = torch.rand(len(self.row), device=self.row.device).masked_fill(self.values == 0, 1) * chosen[self.row]
        order = torch.argsort(self.row + key.double() / 2, stable=True)
        return replace(self, items=self.items[order], values=self.values[order])

    @classmethod
    def beside(cls, parts: Sequence[SparseRows]) -> SparseRows:
        """Parts of ``B`` rows each, concatenated along the items: shape ``(B, sum of their n)``."""
        row = torch.cat([part.row for part in parts])
        order = torch.argsort(row, stable=True)
        starts = itertools.accumulate((part.n_items for part in parts), initial=0)
        items = torch.cat([part.items + start for part, start in zip(parts, starts)])
        values = torch.cat([part.values for part in parts])
        n_items = sum(part.n_items for part in parts)
        return cls(row[order], items[order], values[order], parts[0].n_rows, n_items)

    def squared_norm(self) -> torch.Tensor:
        """Squared length of each row, shape ``(B,)``. No item may occur twice in a row."""
        return self.values.new_zeros(self.n_rows).index_add_(0, self.row, self.values.square())

    def dot(self, vector: torch.Tensor) -> torch.Tensor:
        """The inner product of each row with ``vector``, of shape ``(n,)``; shape ``(B,)``, differentiable by it."""
        terms = vector[self.items] * self.values.to(vector.dtype)
        return terms.new_zeros(self.n_rows).index_add(0, self.row, terms)

    def times(self, table: torch.Tensor) -> torch.Tensor:
        """The matrix product with ``table``: for each row, the weighted sum of its items' rows of the table.

        Args:
            table: shape ``(n, k)``.

        Returns:
            shape ``(B, k)``, of the table's type; differentiable with respect to the table.
        """
        offsets = torch.searchsorted(self.row, torch.arange(self.n_rows, device=self.row.device))
        values = self.values.to(table.dtype)
        return F.embedding_bag(self.items, table, offsets, mode="sum", per_sample_weights=values)


class ItemProjection(nn.Module):
    """A linear map from the items, without a bias.

    Its weight is kept as a table of one row an item, so that the product with a sparse vector is a sum of rows.

    Args:
        n_items: number of items ``n``.
        output_size: ``k``.
    """

    def __init__(self, n_items: int, output_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_items, output_size))
        nn.init.xavier_normal_(self.weight)

    def forward(self, x: torch.Tensor | SparseRows) -> torch.Tensor:
        """Shapes ``(B, n)`` to ``(B, k)``."""
        return times(x, self.weight)


def times(x: torch.Tensor | SparseRows, table: torch.Tensor) -> torch.Tensor:
    """The matrix product of ``x``, of shape ``(B, n)``, with ``table``, of shape ``(n, k)``."""
    return x.times(table) if isinstance(x, SparseRows) else x @ table


def normalised(x: torch.Tensor | SparseRows) -> torch.Tensor | SparseRows:
    """Each row of ``x``, of shape ``(B, n)``, divided by its length; rows of zeros stay."""
    if isinstance(x, SparseRows):
        return x.normalised()
    return F.normalize(x, dim=-1)


def inverse_norm(squared_norm: torch.Tensor) -> torch.Tensor:
    """What ``normalised`` multiplies a row of this squared length by, elementwise."""
    return 1 / squared_norm.clamp(min=0).sqrt().clamp(min=_MIN_NORM)


def squared_norm(x: torch.Tensor | SparseRows) -> torch.Tensor:
    """Squared length of each row of ``x``, shape ``(B,)``."""
    return x.squared_norm() if isinstance(x, SparseRows) else x.square().sum(dim=-1)
