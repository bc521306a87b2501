"""A linear model of what comes next, in closed form: what order tells without a network. Ours; docs/sequences.md."""

from __future__ import annotations

from logging import getLogger
from time import perf_counter
from typing import Any

import torch
from recbole.utils import ModelType

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.data.loaders import UserDataLoader
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model.history_recommender import HistoryRecommender
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import NextItemRidgeHyperparameters
from recbole_cfgdiff.scoring.parts import make_next_item_ridge, make_ridge_scorer

_MOST_ITEMS = 40_000  # whose pairs take 26 GB for the time of the fit


class NextItemRidge(HistoryRecommender):
    """Fitted before what RecBole takes for its only epoch; see ``diffusion.next_item_ridge``. Arguments as of
    ``HistoryRecommender``.

    Raises:
        ConfigError: on a hyperparameter out of its range, if the data set has no times, or on more than 40,000 items.
    """

    type = ModelType.TRADITIONAL
    train_loader = UserDataLoader
    hyperparameters_class = NextItemRidgeHyperparameters
    hyperparameters: NextItemRidgeHyperparameters

    def __init__(self, config: Any, dataset: Any, histories: Histories | None = None) -> None:
        super().__init__(config, dataset, histories)
        self.ridge = make_next_item_ridge(self.hyperparameters, self.n_items)
        self.scorer = make_ridge_scorer(self.hyperparameters, self.n_items, self.ridge)
        self.unused = torch.nn.Parameter(torch.zeros(1))  # RecBole makes an optimiser

    def check_data(self, dataset: Any) -> None:
        """Errors as of the class."""
        check_order(self, dataset)

    def before_training(self, train_data: Any) -> None:
        """Fit it; the trainer calls this. Errors as of ``fit_next_item_ridge``."""
        fit_next_item_ridge(self.ridge, self, train_data)

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """0: nothing is left to train."""
        return 0 * self.unused.sum()


def check_order(model: HistoryRecommender, dataset: Any) -> None:
    """Check that the data set tells the order of a history.

    Raises:
        ConfigError: if it does not.
    """
    if dataset.time_field not in dataset.inter_feat:
        raise ConfigError(
            f"{type(model).__name__}: the data set {dataset.dataset_name} has no column {dataset.time_field!r} that "
            "tells the order of a history; load one (load_col, TIME_FIELD)"
        )


def fit_next_item_ridge(ridge: diffusion.NextItemRidge, model: HistoryRecommender, train_data: Any) -> None:
    """Fit the linear model, or part of a model, to the histories of those users that are trained on.

    Raises:
        ConfigError: on more than 40,000 items, or if ``reg_weight`` is too small.
    """
    given, name = model.hyperparameters, type(model).__name__
    if ridge.n_items > _MOST_ITEMS:
        instead = "; set linear_weight to 0 to do without" if hasattr(given, "linear_weight") else ""
        raise ConfigError(
            f"{name}: the linear part solves for pairs of at most {_MOST_ITEMS:,} items, here are "
            f"{ridge.n_items:,}{instead}"
        )
    started = perf_counter()
    history = model.histories.select(train_data.user_list[model.USER_ID].to(model.device))
    try:
        ridge.fit(history, given.max_item_list_length, given.linear_decay, given.reg_weight)
    except torch.linalg.LinAlgError as error:
        raise ConfigError(f"reg_weight: {given.reg_weight:g} is too small to solve for the linear part") from error
    getLogger().info(f"{name}: linear part fitted in {perf_counter() - started:.1f} s")
