"""Scores of RecBole's own models: of a known user as in an evaluation, of anybody else if a model reads nothing of a
user but the history."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from scipy.sparse import csr_matrix
from torch.nn.utils.rnn import pad_sequence

from recbole_cfgdiff.compat import replaced
from recbole_cfgdiff.data.sequences import item_sequences
from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.errors import ConfigError
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
        model, taken = self._model, histories.of(chosen)
        if getattr(model, "time_aware", False):
            taken = taken.weighted_by_recency(model.w_min, model.w_max)
        return taken.select(torch.arange(len(chosen)))

    def of_users(self, users: torch.Tensor, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Source``: by what the model is given of them in an evaluation, which are their training rows."""
        return self._scores(self._known[users])

    def of_histories(self, rows: SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Source``.

        Raises:
            ConfigError: if the model has scores for known users only, or if it reads a history and one is empty.
        """
        given = self._reader()(self._trainer, rows)
        with replaced(self._model, **given.attributes):
            return self._scores(given.interaction)

    def _reader(self) -> Callable[[Any, SparseRows], _Given]:
        """How the model is given a history, by the class of RecBole's that scores: a subclass may have a way of its
        own."""
        scores = next(base for base in type(self._model).__mro__ if "full_sort_predict" in vars(base))
        reader = _READERS.get(scores.__name__) if scores.__module__.startswith("recbole.") else None
        if reader is None or (scores.__name__ == "ItemKNN" and self._model.method != "item"):
            raise ConfigError(
                f"model {self._name}: it has scores only for the users whom it was trained with; recommend for those, "
                "or train one that scores any history, such as EASE, MultiVAE, SASRec or CFGDiffRec"
            )
        return reader

    def _scores(self, interaction: Interaction) -> torch.Tensor:
        """As RecBole's evaluation has them: by ``full_sort_predict``, or where there is none by ``predict``."""
        return self._trainer._full_sort_batch_eval((interaction, None, None, None))[1]

    def item_vectors(self) -> torch.Tensor:
        """As of ``Source``: always the error."""
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


class _Given(NamedTuple):
    """Histories as a model takes them.

    Attributes:
        interaction: what is scored; a row a history.
        attributes: the model's, in which it looks up what it reads of the users of ``interaction``.
    """

    interaction: Interaction
    attributes: dict[str, Any]


def _as_users(trainer: Any, rows: SparseRows, **attributes: Any) -> _Given:
    """By numbers from 0, whose histories are in the attributes; in none for models that score everybody alike."""
    return _Given(Interaction({trainer.model.USER_ID: torch.arange(len(rows))}), attributes)


def _as_lists(trainer: Any, rows: SparseRows) -> _Given:
    """For RecBole's ``AutoEncoderMixin``."""
    counts = _counts(trainer, rows).tolist()
    items, values = (
        pad_sequence(each.split(counts), batch_first=True).to(trainer.device) for each in (rows.items, rows.values)
    )
    return _as_users(trainer, rows, history_item_id=items, history_item_value=values)


def _as_matrix(trainer: Any, rows: SparseRows) -> _Given:
    """For linear models, which multiply it by their similarities."""
    return _as_users(trainer, rows, interaction_matrix=_matrix(trainer, rows))


def _as_product(trainer: Any, rows: SparseRows) -> _Given:
    """For ItemKNN, which keeps the product alone."""
    return _as_users(trainer, rows, pred_mat=_matrix(trainer, rows).dot(trainer.model.w))


def _as_sequences(trainer: Any, rows: SparseRows) -> _Given:
    """For sequential models: the latest ``MAX_ITEM_LIST_LENGTH`` items."""
    counts = _counts(trainer, rows).numpy()
    ends = np.cumsum(counts)
    return _Given(item_sequences(trainer.config, rows.items.numpy(), ends - counts, ends), {})


def _matrix(trainer: Any, rows: SparseRows) -> csr_matrix:
    _counts(trainer, rows)
    return csr_matrix((rows.values.numpy(), (rows.row.numpy(), rows.items.numpy())), rows.shape)


def _counts(trainer: Any, rows: SparseRows) -> torch.Tensor:
    """Lengths of the histories, int64, shape ``(B,)``.

    Raises:
        ConfigError: if one is empty.
    """
    counts = torch.bincount(rows.row, minlength=len(rows))
    if not counts.all():
        raise ConfigError(
            f"model {trainer.config['model']}: an empty history tells it nothing; give an item at least, or use Pop or "
            "a model of this package"
        )
    return counts


# Of RecBole's models, those that read nothing of a user but the history, by the name of the class. Not among them:
# those with a vector or a bias of each user, and those that keep of the histories only what was made of them.
_READERS: dict[str, Callable[[Any, SparseRows], _Given]] = {
    **dict.fromkeys(("Pop", "Random"), _as_users),
    **dict.fromkeys(("DiffRec", "LDiffRec", "MacridVAE", "MultiDAE", "MultiVAE", "RaCT", "RecVAE"), _as_lists),
    **dict.fromkeys(("ADMMSLIM", "EASE", "SLIMElastic"), _as_matrix),
    "ItemKNN": _as_product,
    **dict.fromkeys(
        (
            *("BERT4Rec", "CORE", "FDSA", "FEARec", "GCSAN", "GRU4Rec", "GRU4RecCPR", "GRU4RecF", "GRU4RecKG", "KSR"),
            *("LightSANs", "NARM", "NextItNet", "RepeatNet", "S3Rec", "SASRec", "SASRecCPR", "SASRecF", "SINE"),
            *("SRGNN", "STAMP"),
        ),
        _as_sequences,
    ),
}
