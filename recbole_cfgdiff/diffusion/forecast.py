"""What is diffused and what guides it, in ForwardCFGDiffRec: the future, and the past. Derived in docs/method.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.restoration import Restoration
from recbole_cfgdiff.diffusion.schedule import NoiseSchedule
from recbole_cfgdiff.diffusion.sequences import TENSOR_TELLS_NO_ORDER

# How many shares, evenly from cut_min to cut_max, stand for all of them in the mean size of a future.
_N_SHARES = 64


class Forecast(Restoration):
    """A cut divides a history: the items after it are diffused, those before it are the guidance. For inference the
    whole history is the guidance, and the reverse process starts from the noise's mean, zero.

    Args:
        n_items: number of items ``n``.
        schedule: of the noise.
        cut_min: least share of a history that is the past, in [0, 1].
        cut_max: largest share, in [cut_min, 1]; the last item is never past.
        p_shuffle: probability that a history is put into random order before the cut.
        recency_powers: for each ``r`` the guidance holds the past once, the ``d``-th latest item weighted by ``d^-r``.
    """

    def __init__(
        self,
        n_items: int,
        schedule: NoiseSchedule,
        cut_min: float,
        cut_max: float,
        p_shuffle: float,
        recency_powers: Sequence[float],
    ) -> None:
        super().__init__(n_items, schedule)
        self.cut_min, self.cut_max = cut_min, cut_max
        self.p_shuffle = p_shuffle
        self.recency_powers = recency_powers

    @property
    def guidance_columns(self) -> int:
        """``n`` for each power."""
        return self.n_items * len(self.recency_powers)

    def training_example(self, history: SparseRows) -> tuple[SparseRows, SparseRows]:
        """The items after a cut, guided by those before it. Shapes as of ``Restoration``.

        With probability ``p_shuffle``, drawn anew for each user of each batch, a history is put into random order
        first. The cut is uniform between the shares ``cut_min`` and ``cut_max`` of a history.
        """
        history = history.shuffled(torch.rand(len(history), device=history.row.device) < self.p_shuffle)
        counts = history.counts()
        share = torch.empty(len(history), device=counts.device).uniform_(self.cut_min, self.cut_max)
        cut = _cut(share, counts)
        is_past = history.places() < cut[history.row]
        past, future = (replace(history, values=history.values * chosen) for chosen in (is_past, ~is_past))
        return future, self._guidance(past, cut)

    def inference_start(self, history: SparseRows) -> tuple[SparseRows, SparseRows]:
        """The mean of the noise, guided by the history. Shapes as of ``Restoration``."""
        return history.zeros(), self._guidance(history, history.counts())

    def _guidance(self, past: SparseRows, ends: torch.Tensor) -> SparseRows:
        """For each of ``r = recency_powers`` the items weighted by ``d^-r`` and normalised, side by side.

        Args:
            past: shape ``(B, n)``.
            ends: what the ``d = 1, 2, ...`` places of the items are counted back from, shape ``(B,)``.

        Returns:
            shape ``(B, n * len(recency_powers))``.
        """
        distance = (ends[past.row] - past.places()).clamp(min=1).to(past.values.dtype)
        weighted = (replace(past, values=past.values * distance**-power) for power in self.recency_powers)
        return SparseRows.beside([rows.normalised() for rows in weighted])

    def mean_squared_norm(self, counts: torch.Tensor, squared_norms: torch.Tensor) -> float:
        """Of a future whose items weigh 1, in the mean over users and cuts. Arguments as of ``Restoration``."""
        shares = torch.linspace(self.cut_min, self.cut_max, _N_SHARES).tolist()
        return float(torch.stack([(counts - _cut(share, counts)).double().mean() for share in shares]).mean())

    def rows(self, history: torch.Tensor) -> SparseRows:
        """As of ``Restoration``; always an error."""
        raise ValueError(TENSOR_TELLS_NO_ORDER)


def _cut(share: torch.Tensor | float, counts: torch.Tensor) -> torch.Tensor:
    """How many of ``counts`` items are the past; the last never is. Shapes ``(B,)``."""
    return torch.minimum((share * counts).long(), counts - 1)
