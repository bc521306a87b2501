"""Batches of users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Any

import torch
from recbole.data.dataloader import AbstractDataLoader, FullSortEvalDataLoader
from recbole.data.dataloader import UserDataLoader as RecBoleUserDataLoader
from recbole.data.interaction import Interaction


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
