"""Scores of RecBole's own models: of a known user as in an evaluation, of anybody else if a model reads nothing of a
user but the history."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_cfgdiff.compat import replaced
from recbole_cfgdiff.data.sequences import item_sequences
from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.reading import reader_of, reads_sequences, taken
from recbole_cfgdiff.scoring.histories import Histories

# What LightGCN and its like, and DMF, keep of their weights between two batches of an evaluation.
_CACHES = ("restore_user_e", "restore_item_e", "i_embedding")


class RecBoleSource:
    """Of any model of RecBole's; a ``Source``.

    Args:
        trainer: with the model in evaluation mode.
        known: what the model is given of each user in an evaluation, a row a user, the padding user's included.
        items: what the data set says of each item, a row an item, the padding item's included.

    Raises:
        ConfigError: if the model reads what neither a user nor an item has.
    """

    is_guided = False

    def __init__(self, trainer: Any, known: Interaction, items: Interaction) -> None:
        self._trainer, self._model, self._known = trainer, trainer.model, known
        self._name = trainer.config["model"]
        self.n_items = trainer.tot_item_num = len(items)
        trainer.item_tensor = items.to(trainer.device)
        self._check_fields({*known.columns, *items.columns})

    def _check_fields(self, there: set[str]) -> None:
        """Of context-aware models, which may read columns of the interactions, such as a time of day."""
        kinds = ("token", "float", "token_seq", "float_seq")
        read = [name for kind in kinds for name in getattr(self._model, f"{kind}_field_names", ())]
        if missing := [name for name in read if name not in there]:
            raise ConfigError(
                f"model {self._name}: it reads {', '.join(missing)} of interactions, which those to come have not yet; "
                "train it without (load_col)"
            )

    def rows(self, histories: Histories, chosen: torch.Tensor) -> SparseRows:
        """As of ``Source``: weighted by recency for RecBole's time-aware DiffRec."""
        return taken(self._model, histories.of(chosen)).select(torch.arange(len(chosen)))

    def of_users(self, users: torch.Tensor, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Source``: by what the model is given of them in an evaluation, which are their training rows."""
        return self._scores(self._known[users])

    def of_histories(self, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Source``.

        Raises:
            ConfigError: if the model has scores for known users only, or if it reads a history and one is empty.
        """
        reader, is_sequential = reader_of(self._model), reads_sequences(self._model)
        if not (is_sequential or reader):
            raise ConfigError(
                f"model {self._name}: it has scores only for the users whom it was trained with; recommend for those, "
                "or train one that scores any history, such as EASE, MultiVAE, SASRec or CFGDiffRec"
            )
        counts = torch.bincount(rows.row, minlength=len(rows)).numpy()
        if not counts.all() and (reader is None or reader.needs_an_item):
            raise ConfigError(
                f"model {self._name}: an empty history tells it nothing; give an item at least, or use Pop or a model "
                "of this package"
            )
        if reader is None:
            ends = np.cumsum(counts)
            return self._scores(item_sequences(self._trainer.config, rows.items.numpy(), ends - counts, ends))
        with replaced(self._model, **reader.attributes(self._model, rows)):
            return self._scores(Interaction({self._model.USER_ID: torch.arange(len(rows))}))

    def _scores(self, interaction: Interaction) -> torch.Tensor:
        """As RecBole's evaluation has them: by ``full_sort_predict``, or where there is none by ``predict``."""
        return self._trainer._full_sort_batch_eval((interaction, None, None, None))[1]

    def item_vectors(self) -> torch.Tensor:
        """As of ``Source``: always the error."""
        raise self._without_vectors()

    def similarity_vectors(self) -> torch.Tensor:
        """Always an error, as of ``item_vectors``."""
        raise self._without_vectors()

    def query_vectors(self, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Source``: always the error."""
        raise self._without_vectors()

    def _without_vectors(self) -> ConfigError:
        return ConfigError(
            f"model {self._name}: only the models of this package have item vectors, which vectors and diversify need"
        )

    def fixed_weights(self) -> AbstractContextManager[None]:
        """As of ``Source``."""
        return replaced(self._model, **{name: None for name in _CACHES if hasattr(self._model, name)})
