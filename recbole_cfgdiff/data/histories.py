"""Users' histories as a data set of RecBole's has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from recbole_cfgdiff.data.time_order import places_in_time, time_order
from recbole_cfgdiff.scoring.histories import Histories


def histories_of(dataset: Any) -> Histories:
    """Those of all rows of a ``recbole.data.dataset.Dataset``, in exact time order, or in the file's without times."""
    users, items, _ = pairs_in_order(dataset)
    return Histories.of_pairs(users, items, dataset.user_num, dataset.item_num)


def pairs_in_order(dataset: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and places in their users' histories of the rows of a data set, or of a part of one, each of shape
    ``(n_rows,)``, in exact time order. Places are those that were remembered, of a part that was split at random; 0
    elsewhere."""
    rows = dataset.inter_feat
    order = time_order(dataset) if dataset.time_field in rows else slice(None)
    users, items = rows[dataset.uid_field].numpy()[order], rows[dataset.iid_field].numpy()[order]
    return users, items, places_in_time(dataset)[order]


def trained_pairs(dataset: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """User and item ids, int64, shape ``(n_rows,)``, of a (training) data set's rows but those of held-out users."""
    users, items = (dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field))
    held_out = getattr(dataset, "held_out", None)
    is_trained_on = slice(None) if held_out is None else ~held_out[users]
    return users[is_trained_on], items[is_trained_on]


def trained_users(dataset: Any) -> torch.Tensor:
    """Ids, ascending, of the users of a (training) data set who have a history and are not held out."""
    return trained_pairs(dataset)[0].unique()
