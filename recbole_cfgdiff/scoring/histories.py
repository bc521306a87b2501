"""Every user's interactions as compressed sparse rows: memory grows with the interactions, not with the longest one."""

from __future__ import annotations

import numpy as np
import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows


class Histories:
    """Users' histories, each in time order.

    Not a module: derived from the data set, so neither saved with the model nor broadcast between processes.

    Args:
        offsets: where each user's items start in ``items``, int64, shape ``(n_users + 1,)``.
        items: item ids, int64, shape ``(n_interactions,)``.
        values: weights of the items, float32, shape ``(n_interactions,)``.
        n_items: number of items ``n``, RecBole's padding item 0 included.
    """

    def __init__(self, offsets: torch.Tensor, items: torch.Tensor, values: torch.Tensor, n_items: int) -> None:
        self.offsets = offsets
        self.items = items
        self.values = values
        self.n_items = n_items
        # Of the 1, 2, ... longest histories together.
        self._most_entries = offsets.diff().sort(descending=True).values.cumsum(0).cpu().numpy()

    @classmethod
    def of_pairs(cls, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int) -> Histories:
        """From pairs in time order (a user's earlier pairs first), repeated ones too.

        Args:
            users: user ids, shape ``(n_interactions,)``.
            items: item ids, shape ``(n_interactions,)``.
            n_users: number of users, RecBole's padding user 0 included.
            n_items: number of items, the padding item included.
        """
        offsets = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))])
        return cls(
            torch.as_tensor(offsets, dtype=torch.int64),
            torch.as_tensor(items[np.argsort(users, kind="stable")], dtype=torch.int64),
            torch.ones(len(items)),
            n_items,
        )

    def without_repeats(self) -> Histories:
        """Each item of a user once, where it came first."""
        user = torch.arange(len(self.offsets) - 1).repeat_interleave(self.counts())
        _, first = np.unique((user * self.n_items + self.items).numpy(), return_index=True)
        if len(first) == len(self.items):
            return self
        kept = torch.from_numpy(np.sort(first))
        counts = torch.bincount(user[kept], minlength=len(self.offsets) - 1)
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        return Histories(offsets, self.items[kept], self.values[kept], self.n_items)

    def weighted_by_recency(self, w_min: float, w_max: float) -> Histories:
        """Weights rising linearly in time from ``w_min`` to ``w_max`` within each user (T-DiffRec, DiffRec Sec. 3.3).

        A single interaction has weight ``w_min``, as in RecBole's DiffRec.
        """
        counts = self.offsets.diff()
        position = torch.arange(len(self.items)) - self.offsets[:-1].repeat_interleave(counts)
        last = (counts - 1).clamp(min=1).repeat_interleave(counts)
        values = w_min + (w_max - w_min) * position / last
        return Histories(self.offsets, self.items, values.float(), self.n_items)

    def counts(self) -> torch.Tensor:
        """Number of items of each user, int64, shape ``(n_users,)``."""
        return self.offsets.diff()

    def squared_norms(self) -> torch.Tensor:
        """Squared length of each user's vector, shape ``(n_users,)``."""
        user = torch.arange(len(self.offsets) - 1, device=self.offsets.device).repeat_interleave(self.counts())
        return self.values.new_zeros(len(self.offsets) - 1).index_add_(0, user, self.values.square())

    def of(self, users: torch.Tensor) -> Histories:
        """The histories of some users, a row each, in their order.

        Args:
            users: ids, int64, shape ``(B,)``, on the device of the histories.
        """
        counts = self.counts()[users]
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        places = torch.arange(int(offsets[-1]), device=offsets.device)
        places += (self.offsets[users] - offsets[:-1]).repeat_interleave(counts)
        return Histories(offsets, self.items[places], self.values[places], self.n_items)

    def to(self, device: torch.device) -> Histories:
        """A copy on ``device``."""
        return Histories(self.offsets.to(device), self.items.to(device), self.values.to(device), self.n_items)

    def select(self, users: torch.Tensor) -> SparseRows:
        """The histories of some users.

        Args:
            users: ids, int64, shape ``(B,)``; on an accelerator all different, unless gradients are off.

        Returns:
            one row a user, of ``n_items`` columns, entries in time order.
        """
        users = users.to(self.offsets.device)
        starts, counts = self.offsets[users], self.offsets[users + 1] - self.offsets[users]
        n_entries = self._n_entries(counts)
        padding = n_entries - counts.sum()
        torch._assert_async(padding >= 0, "users: expected different ones")  # which does not wait for the device
        # Spread evenly: no row is to be much longer than the others.
        order = torch.arange(len(users), device=users.device)
        padded_counts = counts + padding // len(users) + (order < padding % len(users))
        ends = padded_counts.cumsum(0)
        entry = torch.arange(n_entries, device=users.device)
        row = torch.searchsorted(ends, entry, right=True)
        place = entry - (ends - padded_counts)[row]
        position = (starts[row] + place).clamp(max=len(self.items) - 1)
        values = self.values[position] * (place < counts[row])
        return SparseRows(row, self.items[position], values, len(users), self.n_items)

    def _n_entries(self, counts: torch.Tensor) -> int:
        """How many entries rows with these counts have, or where that can't be asked for, the most that so many
        different users could have: the entries beyond are padding, of value 0."""
        if _may_wait_for(counts.device):
            return int(counts.sum())
        return int(self._most_entries[min(len(counts), len(self._most_entries)) - 1])


def _may_wait_for(device: torch.device) -> bool:
    """Whether to read a number off the device: a training step on an accelerator is not to wait for it."""
    return device.type == "cpu" or not torch.is_grad_enabled()
