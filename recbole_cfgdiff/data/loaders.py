"""Batches of users."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from logging import getLogger
from typing import Any

import torch
from recbole.data.dataloader import AbstractDataLoader, FullSortEvalDataLoader
from recbole.data.dataloader import UserDataLoader as RecBoleUserDataLoader
from recbole.data.interaction import Interaction

from recbole_cfgdiff.errors import ConfigError

_BATCHES_SORTED = 20  # whose users are sorted by their lengths together


class UserDataLoader(RecBoleUserDataLoader):
    """Batches of users to train on: those with a history. RecBole's also yields its padding user 0.

    Arguments as RecBole's, and ``users``: ids to choose from instead of all, int64.
    """

    def __init__(
        self, config: Any, dataset: Any, sampler: Any, shuffle: bool = True, users: torch.Tensor | None = None
    ) -> None:
        self.logger = getLogger()
        self.uid_field = dataset.uid_field
        with_history = dataset.inter_feat[self.uid_field].unique()
        if users is not None:
            with_history = with_history[torch.isin(with_history, users)]
        self.user_list = Interaction({self.uid_field: with_history})
        self.sample_size = len(self.user_list)
        AbstractDataLoader.__init__(self, config, dataset, sampler, shuffle=shuffle)


class PositionDataLoader(UserDataLoader):
    """Batches of users of like history lengths, about ``train_batch_size`` rows to find in all: a user's rows but the
    first, at most ``MAX_ITEM_LIST_LENGTH`` of them. Users of whom there are none are left out. Arguments as of
    ``UserDataLoader``."""

    def __init__(
        self, config: Any, dataset: Any, sampler: Any, shuffle: bool = True, users: torch.Tensor | None = None
    ) -> None:
        super().__init__(config, dataset, sampler, shuffle, users)
        if not config["single_spec"]:
            raise ConfigError(f"model {config['model']}: its batches are of one process; train it in one (nproc: 1)")
        all_users = self.user_list[self.uid_field]
        counts = torch.bincount(dataset.inter_feat[self.uid_field])[all_users] - 1
        self._users = all_users[counts > 0]
        self._positions = counts[counts > 0].clamp(max=config["MAX_ITEM_LIST_LENGTH"])
        if not len(self._users):
            raise ConfigError(
                f"model {config['model']}: no user has two training rows, of which the second is predicted"
            )
        self._size, self._shuffles = config["train_batch_size"], shuffle

    def __len__(self) -> int:
        return -(-int(self._positions.sum()) // self._size)

    def __iter__(self) -> Iterator[Interaction]:
        order = self._order(len(self._users))
        # Of some users at a time, so that a batch is of like lengths, and of others in each epoch.
        pool = max(1, round(_BATCHES_SORTED * self._size / self._positions.float().mean().item()))
        by_length = torch.cat([part[self._positions[part].argsort(stable=True)] for part in order.split(pool)])
        ends = self._positions[by_length].cumsum(0)
        number = (ends - self._positions[by_length]) // self._size
        batches = by_length.split(torch.bincount(number)[number.unique()].tolist())
        for batch in self._order(len(batches)).tolist():
            yield Interaction({self.uid_field: self._users[batches[batch]]})

    def _order(self, n: int) -> torch.Tensor:
        return torch.randperm(n, generator=self.generator) if self._shuffles else torch.arange(n)


def remember_batches(loader: Any) -> None:
    """Let a loader of full-ranking evaluation build each of its batches once.

    They are the same at every evaluation; RecBole's loader builds the masks anew, in a loop over the users. What is
    kept is about twice the size of the histories that the loader holds anyway. Other loaders stay as they are.
    """
    if not isinstance(loader, FullSortEvalDataLoader) or loader.is_sequential:
        return
    loader.collate_fn = _Remembered(loader.collate_fn)


class _Remembered:
    """A function of a batch's positions, called once for each batch."""

    def __init__(self, build: Callable[[Sequence[int]], Any]) -> None:
        self._build = build
        self._batches: dict[tuple[int, ...], Any] = {}

    def __call__(self, index: Sequence[int]) -> Any:
        key = tuple(index)
        if key not in self._batches:
            self._batches[key] = self._build(index)
        return self._batches[key]
