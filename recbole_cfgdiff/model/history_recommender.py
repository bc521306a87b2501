"""What RecBole needs of a model that scores from a history alone, beside its training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType

from recbole_cfgdiff.data.histories import histories_of
from recbole_cfgdiff.diffusion import HistoryScorer, SparseRows
from recbole_cfgdiff.options import Integer
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import Hyperparameters


class HistoryRecommender(GeneralRecommender):
    """Scores are a function of a history: a user's id is only a way to look one up.

    What maps a history to scores is ``scorer``, which knows nothing of RecBole and which a subclass makes; beside it a
    subclass has ``calculate_loss``, RecBole's training step, and ``train_loader``, the loader's class.

    Args:
        config: RecBole's configuration.
        dataset: the training part of the data set.
        histories: of all its users, in time order; None reads them from ``dataset``.

    Raises:
        ConfigError: on a hyperparameter out of its range.
    """

    input_type = InputType.LISTWISE
    hyperparameters_class: type[Hyperparameters]
    is_guided = False  # whether scores depend on a guidance scale
    guidance_scale = 0.0
    scorer: HistoryScorer

    def __init__(self, config: Any, dataset: Any, histories: Histories | None = None) -> None:
        super().__init__(config, dataset)
        self.hyperparameters: Any = self.hyperparameters_class.read(config)
        self.check_data(dataset)
        self.histories = self.taken(histories or histories_of(dataset)).to(self.device)
        # How many users `predict` scores at once, so that sampled evaluation never holds users x items.
        batch_size = "full_sort_eval_batch_size"
        self.predict_users = max(1, Integer(1).read(batch_size, config[batch_size]) // self.n_items)

    def check_data(self, dataset: Any) -> None:
        """Check that the (training) data set has what the model reads.

        Raises:
            ConfigError: otherwise.
        """

    def taken(self, histories: Histories) -> Histories:
        """Histories as the model takes them."""
        return histories

    def guidance_sweep(
        self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]
    ) -> Iterator[torch.Tensor]:
        """``score`` for each guidance scale in turn. Arguments, result and errors as of ``Scorer.sweep``."""
        return self.scorer.sweep(history, guidance_scales)

    def score(self, history: torch.Tensor | SparseRows) -> torch.Tensor:
        """Scores of all items for any histories, also of users whom the data set does not know.

        Args:
            history: 1 at the internal ids (``dataset.token2id``) of a user's items and 0 elsewhere, shape
                ``(B, n)`` with ``n = dataset.item_num``; as of ``Scorer.sweep``.

        Returns:
            shape ``(B, n)``, higher is better; the history's own items are not left out.
        """
        return next(self.guidance_sweep(history, [self.guidance_scale]))

    def fixed_weights(self) -> AbstractContextManager[None]:
        """Within it the weights must not change, and scoring many batches is faster; see ``Scorer.fixed_weights``."""
        return self.scorer.fixed_weights()

    @torch.no_grad()
    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """Scores of all items for the users of ``interaction``, shape ``(B, n)``."""
        return self.score(self.histories.select(interaction[self.USER_ID]))

    @torch.no_grad()
    def predict(self, interaction: Any) -> torch.Tensor:
        """Scores of the user-item pairs of ``interaction``, shape ``(B,)``; each user is scored once."""
        users, row = interaction[self.USER_ID].unique(return_inverse=True)
        items = interaction[self.ITEM_ID]
        scores = torch.empty(len(items), device=items.device)
        with self.fixed_weights():
            for start in range(0, len(users), self.predict_users):
                chunk = self.score(self.histories.select(users[start : start + self.predict_users]))
                pairs = ((row >= start) & (row < start + len(chunk))).nonzero().squeeze(1)
                scores[pairs] = chunk[row[pairs] - start, items[pairs]].to(scores.dtype)
        return scores
