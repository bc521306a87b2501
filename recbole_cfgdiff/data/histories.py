"""Users' histories as a data set of RecBole's has them."""

from __future__ import annotations

from typing import Any

import torch

from recbole_cfgdiff.data.time_order import time_order
from recbole_cfgdiff.scoring.histories import Histories


def histories_of(dataset: Any) -> Histories:
    """Those of all rows of a ``recbole.data.dataset.Dataset``, in exact time order, or in the file's without times."""
    inter = dataset.inter_feat
    users, items = inter[dataset.uid_field].numpy(), inter[dataset.iid_field].numpy()
    if dataset.time_field in inter:
        order = time_order(dataset)
        users, items = users[order], items[order]
    return Histories.of_pairs(users, items, dataset.user_num, dataset.item_num)


def trained_pairs(dataset: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """User and item ids, int64, shape ``(n_rows,)``, of a (training) data set's rows but those of held-out users."""
    users, items = (dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field))
    held_out = getattr(dataset, "held_out", None)
    is_trained_on = slice(None) if held_out is None else ~held_out[users]
    return users[is_trained_on], items[is_trained_on]


def trained_users(dataset: Any) -> torch.Tensor:
    """Ids, ascending, of the users of a (training) data set who have a history and are not held out."""
    return trained_pairs(dataset)[0].unique()
