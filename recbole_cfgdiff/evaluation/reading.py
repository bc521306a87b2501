"""What models of RecBole's read of a person's history, and how they are given another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from recbole.utils import ModelType
from scipy.sparse import csr_matrix
from torch.nn.utils.rnn import pad_sequence

from recbole_cfgdiff.compat import replaced
from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.model.history_recommender import HistoryRecommender
from recbole_cfgdiff.scoring.histories import Histories


class Reader(NamedTuple):
    """How a model reads the histories of people.

    Attributes:
        attributes: of a model and of histories, a row a person: the model's attributes in which it looks them up, by
            the numbers of the rows.
        needs_an_item: whether an empty history tells it nothing.
    """

    attributes: Callable[[Any, SparseRows], dict[str, Any]]
    needs_an_item: bool = True


def reader_of(model: Any) -> Reader | None:
    """How a general model of RecBole's reads histories. None of those with a vector or a bias of each user, and of
    those that keep of the histories only what was made of them."""
    name = _scoring_class(model)
    return None if name == "ItemKNN" and model.method != "item" else _READERS.get(name)


def reads_sequences(model: Any) -> bool:
    """Whether it is a sequential model of RecBole's that reads nothing of a user but the history."""
    return _scoring_class(model) in _SEQUENTIAL


def _scoring_class(model: Any) -> str:
    """Name of RecBole's class that scores: a subclass of somebody's, which may read otherwise, has none."""
    scores = next((base for base in type(model).__mro__ if "full_sort_predict" in vars(base)), type(model))
    return scores.__name__ if scores.__module__.startswith("recbole.") else ""


def reads_histories(model: Any) -> bool:
    """Whether what a model is told of a user when it scores is a history or a sequence."""
    is_sequential = getattr(model, "type", None) is ModelType.SEQUENTIAL
    return isinstance(model, HistoryRecommender) or is_sequential or reader_of(model) is not None


@contextmanager
def given_histories(model: Any, eval_data: Any) -> Iterator[None]:
    """Within it a model that reads histories reads those that the loader says, by its attribute ``histories``, a
    ``Histories``; without one, and models that read none, nothing changes. Sequential models have theirs in the rows of
    the loader."""
    histories: Histories | None = getattr(eval_data, "histories", None)
    if histories is None:
        yield
        return
    with replaced(model, **_attributes(model, histories)):
        yield


def _attributes(model: Any, histories: Histories) -> dict[str, Any]:
    histories = taken(model, histories)
    if isinstance(model, HistoryRecommender):
        return {"histories": histories.to(model.device)}
    reader, everybody = reader_of(model), torch.arange(len(histories.counts()))
    return {} if reader is None else reader.attributes(model, histories.select(everybody))


def taken(model: Any, histories: Histories) -> Histories:
    """Histories as a model takes them: ours by their own rules, RecBole's DiffRec weighted by recency if it is
    time-aware."""
    if isinstance(model, HistoryRecommender):
        return model.taken(histories)
    is_time_aware = getattr(model, "time_aware", False)
    return histories.weighted_by_recency(model.w_min, model.w_max) if is_time_aware else histories


def _nothing(model: Any, rows: SparseRows) -> dict[str, Any]:
    """For models that score everybody alike."""
    return {}


def _lists(model: Any, rows: SparseRows) -> dict[str, Any]:
    """For RecBole's ``AutoEncoderMixin``."""
    counts = torch.bincount(rows.row, minlength=len(rows)).tolist()
    items, values = (
        pad_sequence(each.split(counts), batch_first=True).to(model.device) for each in (rows.items, rows.values)
    )
    return {"history_item_id": items, "history_item_value": values}


def _matrix(model: Any, rows: SparseRows) -> csr_matrix:
    return csr_matrix((rows.values.numpy(), (rows.row.numpy(), rows.items.numpy())), rows.shape)


# Of RecBole's general models, by the name of the class.
_READERS: dict[str, Reader] = {
    **dict.fromkeys(("Pop", "Random"), Reader(_nothing, needs_an_item=False)),
    **dict.fromkeys(
        ("DiffRec", "LDiffRec", "MacridVAE", "MultiDAE", "MultiVAE", "RaCT", "RecVAE"),
        Reader(_lists),
    ),
    # Linear models, which multiply the matrix by their similarities; ItemKNN keeps the product alone.
    **dict.fromkeys(
        ("ADMMSLIM", "EASE", "SLIMElastic"), Reader(lambda model, rows: {"interaction_matrix": _matrix(model, rows)})
    ),
    "ItemKNN": Reader(lambda model, rows: {"pred_mat": _matrix(model, rows).dot(model.w)}),
}

_SEQUENTIAL = {
    *("BERT4Rec", "CORE", "FDSA", "FEARec", "GCSAN", "GRU4Rec", "GRU4RecCPR", "GRU4RecF", "GRU4RecKG", "KSR"),
    *("LightSANs", "NARM", "NextItNet", "RepeatNet", "S3Rec", "SASRec", "SASRecCPR", "SASRecF", "SINE"),
    *("SRGNN", "STAMP"),
}
