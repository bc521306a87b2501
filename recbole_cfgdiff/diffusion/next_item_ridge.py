"""What comes next as a linear function of the history, fitted in closed form: a prior for the sequence model's logits,
and a model of its own. Derived in docs/sequences.md."""

from __future__ import annotations

import torch
from torch import nn

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.sequences import lengths

_GROUP = 256  # sequences scored at once, which take about 12 bytes for each of their items' neighbors


class NextItemRidge(nn.Module):
    """Ridge regression of the next items on the history, over every cut ``p`` of every history.

        score_j = sum_d d^-r B[i_d, j]                     d = 1 is the latest item
        B = (sum_p x_p x_p^T + lambda I)^-1 sum_p x_p y_p^T
        x_p = sum_d d^-r e(i_{p + 1 - d}),   y_p = sum_k g^(k - 1) e(i_{p + k}) / sum_k g^(k - 1)

    So EASE (Steck 2019) looks from what was to what comes, as SLIST (Choi et al. 2021) does with exponential weights.
    Of each row of ``B`` the largest coefficients are kept, if they are above 0.

    Args:
        n_items: number of items ``n``, the padding item 0 included.
        n_neighbors: coefficients that are kept of each row, at most ``n``.
        recency_power: ``r``, at least 0.
    """

    neighbors: torch.Tensor
    coefficients: torch.Tensor

    def __init__(self, n_items: int, n_neighbors: int, recency_power: float) -> None:
        super().__init__()
        self.n_items, self.recency_power = n_items, recency_power
        shape = n_items, min(n_neighbors, n_items)
        self.register_buffer("neighbors", torch.zeros(shape, dtype=torch.int32))
        self.register_buffer("coefficients", torch.zeros(shape))
        self.register_load_state_dict_post_hook(_check_neighbors)

    @torch.no_grad()
    def fit(self, history: SparseRows, max_length: int, decay: float, reg_weight: float) -> None:
        """Find ``B``; takes about 16 ``n^2`` bytes for the time, on the CPU, where sums come out the same each time.

        Args:
            history: all histories, entries in time order.
            max_length: how far back ``x`` reaches; two items further apart than that do not count as a pair.
            decay: ``g``, in [0, 1]; 0 looks at the next item alone.
            reg_weight: ``lambda``, above 0.

        Raises:
            torch.linalg.LinAlgError: if ``reg_weight`` is too small.
        """
        gram, moment = pair_sums(history, max_length, self.recency_power, decay)
        gram.diagonal().add_(reg_weight)
        solution = torch.cholesky_solve(moment, torch.linalg.cholesky(gram))
        solution[:, 0] = 0  # the padding item never comes
        kept = solution.topk(self.neighbors.shape[1], dim=1)
        self.neighbors.copy_(kept.indices)
        self.coefficients.copy_(kept.values.clamp(min=0))

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Scores after sequences, as of ``sequences.latest``; shapes ``(B, L)`` to ``(B, n)``."""
        return torch.cat([self._scores(group) for group in items.split(_GROUP)])

    def _scores(self, items: torch.Tensor) -> torch.Tensor:
        row, place = (items != 0).nonzero(as_tuple=True)
        return self.of_entries(row, items[row, place], lengths(items)[row] - place, len(items))

    def of_entries(self, row: torch.Tensor, items: torch.Tensor, age: torch.Tensor, n_rows: int) -> torch.Tensor:
        """The same of entries, of whose items the padding item adds nothing.

        Args:
            row: of each entry, int64, shape ``(E,)``.
            items: shape ``(E,)``.
            age: ``d``, 1 of the latest, shape ``(E,)``.
            n_rows: number of rows ``B``.

        Returns:
            shape ``(B, n)``.
        """
        weights = age.to(self.coefficients.dtype) ** -self.recency_power
        values = weights[:, None] * self.coefficients[items]
        places = row[:, None] * self.n_items + self.neighbors[items]
        scores = values.new_zeros(n_rows * self.n_items).scatter_add(0, places.flatten(), values.flatten())
        return scores.view(n_rows, self.n_items)


def _check_neighbors(module: NextItemRidge, _: object) -> None:
    """Errors of ``load_state_dict``."""
    neighbors = module.neighbors
    if neighbors.dtype != torch.int32 or ((neighbors < 0) | (neighbors >= module.n_items)).any():
        raise ValueError(f"neighbors: expected numbers of items, below {module.n_items}, as integers of 32 bits")


def pair_sums(
    history: SparseRows, max_length: int, recency_power: float, decay: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """``sum_p x_p x_p^T`` and ``sum_p x_p y_p^T`` of ``NextItemRidge``, both of shape ``(n, n)``, on the CPU.

    Both are sums over pairs of a history's items that depend on how far apart the two are and on how much comes after
    them: of a pair ``d`` apart with ``m`` cuts after it, ``sum_{q <= m} q^-r (q + d)^-r`` and, looking ahead,
    ``sum_{q <= d} q^-r g^(d - q)``. So no ``x_p`` is ever made. Of the second, pairs further apart than ``max_length``
    are left out. Arguments as of ``NextItemRidge.fit``.
    """
    entries = _without_padding(history)
    n_items, n_after = entries.n_items, entries.counts()[entries.row] - entries.places() - 1
    weights = torch.arange(1, max_length + 1, dtype=torch.float64) ** -recency_power
    gram, moment = torch.zeros(n_items**2), torch.zeros(n_items**2)
    ahead = torch.zeros((), dtype=torch.float64)
    longest = int(n_after.max()) if len(n_after) else 0
    for distance in range(min(max_length, longest) + 1):
        first, second = _pairs(entries, distance)
        forth = entries.items[first] * n_items + entries.items[second]
        back = entries.items[second] * n_items + entries.items[first]
        read = (weights[: max_length - distance] * weights[distance:]).cumsum(0)  # by how many cuts come after
        of_pair = torch.cat([read.new_zeros(1), read])[n_after[second].clamp(max=len(read))].to(gram.dtype)
        gram.index_add_(0, forth, of_pair)
        if distance:
            gram.index_add_(0, back, of_pair)
            ahead = decay * ahead + weights[distance - 1]
            moment.index_add_(0, forth, ahead.to(moment.dtype).expand(len(forth)))
    moment /= float((decay ** torch.arange(max_length, dtype=torch.float64)).sum())
    return gram.view(n_items, n_items), moment.view(n_items, n_items)


def _without_padding(history: SparseRows) -> SparseRows:
    """The entries that are items, on the CPU."""
    there = (history.values != 0).nonzero().squeeze(1)
    row, items, values = (each[there].cpu() for each in (history.row, history.items, history.values))
    return SparseRows(row, items, values, *history.shape)


def _pairs(entries: SparseRows, distance: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of entries and of those that come so far behind in the same row."""
    first = (entries.row[: len(entries.row) - distance] == entries.row[distance:]).nonzero().squeeze(1)
    return first, first + distance
