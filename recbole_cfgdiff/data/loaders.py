"""Batches of users."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import torch
from recbole.data.dataloader import AbstractDataLoader
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
