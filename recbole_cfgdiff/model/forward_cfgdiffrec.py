"""CFG-DiffRec that looks forward: the past guides the diffusion of the future. Ours; derived in docs/method.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.data.histories import trained_pairs
from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model.cfgdiffrec import CFGDiffRec
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import ForwardCFGDiffRecHyperparameters
from recbole_cfgdiff.scoring.parts import make_forecast, make_scorer


class ForwardCFGDiffRec(CFGDiffRec):
    """CFG-DiffRec trained to find what comes next, not to restore what it is given: see ``Forecast``.

    Scores are those of an average of the weights over the training. Arguments as of ``DiffRec``.

    Raises:
        ConfigError: on a hyperparameter out of its range, or if the data set has no times.
    """

    hyperparameters_class: type[ForwardCFGDiffRecHyperparameters] = ForwardCFGDiffRecHyperparameters
    hyperparameters: ForwardCFGDiffRecHyperparameters
    make_task = staticmethod(make_forecast)
    root_item_weights: torch.Tensor

    def __init__(self, config: Any, dataset: Any, histories: Histories | None = None) -> None:
        super().__init__(config, dataset, histories)
        given = self.hyperparameters
        self.user_weight_power = given.user_weight_power
        counts = _count_items(dataset).clamp(min=1).float().to(self.device)
        item_weights = (counts / counts.mean()) ** -given.item_weight_power
        self.register_buffer("root_item_weights", item_weights.sqrt(), persistent=False)
        self.averaged = diffusion.MovingAverage(self.denoiser, given.ema_decay)
        self.scorer = make_scorer(given, self.task, self.averaged.network)

    def check_data(self, dataset: Any) -> None:
        """Errors as of the class."""
        if dataset.time_field not in dataset.inter_feat:
            raise ConfigError(
                f"ForwardCFGDiffRec: the data set {dataset.dataset_name} has no column {dataset.time_field!r} that "
                "tells the past from the future; load one (load_col, TIME_FIELD)"
            )

    def _squared_errors(self, features: torch.Tensor, target: SparseRows | torch.Tensor) -> torch.Tensor:
        """``m^-user_weight_power sum_i w_i (W_o a + b_o - target)_i^2`` for each user, ``m`` the items of its target.

        As the plain error of everything times ``sqrt(w_i)``. Shapes as in DiffRec.
        """
        assert isinstance(target, SparseRows)  # x_start
        root, layer = self.root_item_weights, self.denoiser.output_layer
        scaled = replace(target, values=target.values * root[target.items])
        errors = diffusion.squared_errors(features, layer.weight * root[:, None], layer.bias * root, scaled)
        return errors * target.counts().clamp(min=1).to(errors.dtype) ** -self.user_weight_power

    def after_step(self) -> None:
        """Let the weights enter the average; the trainer calls it after every step of the optimiser."""
        self.averaged.update(self.denoiser)


def _count_items(dataset: Any) -> torch.Tensor:
    """Interactions of each item with the users who are trained on, int64, shape ``(n,)``."""
    _, items = trained_pairs(dataset)
    return torch.bincount(items, minlength=dataset.item_num)
