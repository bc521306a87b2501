"""CFG-DiffRec that reads order: a sequence guides the absorbing diffusion of the items that come next. Ours; derived in
docs/sequences.md."""

from __future__ import annotations

from typing import Any

import torch

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.data.loaders import PositionDataLoader
from recbole_cfgdiff.model.history_recommender import HistoryRecommender
from recbole_cfgdiff.model.next_item_ridge import check_order, fit_next_item_ridge
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import SeqCFGDiffRecHyperparameters
from recbole_cfgdiff.scoring.parts import make_next_items_denoiser, make_prior, make_sequence_scorer


class SeqCFGDiffRec(HistoryRecommender):
    """Trained at every cut of a history at once to find the next items; see ``diffusion.next_items``.

    Scores are those of an average of the weights over the training. Arguments as of ``HistoryRecommender``.

    Raises:
        ConfigError: on a hyperparameter out of its range, or if the data set has no times.
    """

    train_loader = PositionDataLoader
    hyperparameters_class: type[SeqCFGDiffRecHyperparameters] = SeqCFGDiffRecHyperparameters
    hyperparameters: SeqCFGDiffRecHyperparameters
    is_guided = True
    scorer: diffusion.SequenceScorer
    distance_weights: torch.Tensor

    def __init__(self, config: Any, dataset: Any, histories: Histories | None = None) -> None:
        super().__init__(config, dataset, histories)
        given = self.hyperparameters
        self.guidance_scale = given.guidance_scale
        self.guidance_scales = given.guidance_scales
        self.denoiser = make_next_items_denoiser(given, self.n_items)
        self.averaged = diffusion.MovingAverage(self.denoiser, given.ema_decay)
        self.linear_part = make_prior(given, self.n_items)
        network = diffusion.SequenceNetwork(self.averaged.network, self.linear_part)
        self.scorer = make_sequence_scorer(given, self.n_items, network)
        weights = diffusion.distance_weights(given.n_next, given.distance_decay)
        self.register_buffer("distance_weights", weights, persistent=False)

    def check_data(self, dataset: Any) -> None:
        """Errors as of the class."""
        check_order(self, dataset)

    def before_training(self, train_data: Any) -> None:
        """Fit the linear part; the trainer calls it. Errors as of ``fit_next_item_ridge``."""
        if self.linear_part is not None:
            fit_next_item_ridge(self.linear_part, self, train_data)

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """Mean loss of the cuts of a batch of users, a scalar (RecBole's training step).

        Of each cut the mean cross-entropy of the hidden items, weighted by their distance.
        """
        given = self.hyperparameters
        # The last item of a window is only to be found.
        items = diffusion.windows(self.histories.select(interaction[self.USER_ID]), given.max_item_list_length + 1)
        inputs, cuts = diffusion.training_cuts(items, given.n_next)
        is_guided = torch.rand(len(items), device=items.device) >= given.p_uncond
        guidance = self.denoiser.encoder(inputs) * is_guided[:, None, None]
        t = torch.randint(1, given.steps + 1, (len(cuts.row),), device=items.device)
        weights = self.distance_weights * (cuts.x_start != 0)
        is_shown = diffusion.q_sample(cuts.x_start, t, given.steps)
        shown = self.denoiser.embed(cuts.x_start, is_shown) if given.steps > 1 else None
        features = self.denoiser(guidance[cuts.row, cuts.place], shown, t)
        share = weights / weights.sum(dim=1, keepdim=True) * ~is_shown * (given.steps / t)[:, None]
        return self._softmax_loss(features, cuts.x_start, share) / len(share)

    def _softmax_loss(self, features: torch.Tensor, targets: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        weight, bias = self.denoiser.output_weights()
        n_negatives = self.hyperparameters.n_negatives
        if n_negatives is None:
            return diffusion.softmax_loss(features, weight, bias, targets, share)
        return diffusion.sampled_softmax_loss(features, weight, bias, targets, share, n_negatives)

    def after_step(self) -> None:
        """Let the weights enter the average; the trainer calls it after every step of the optimiser."""
        self.averaged.update(self.denoiser)
