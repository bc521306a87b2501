"""The exact order of interactions in time: RecBole's times are float32, 64 to 128 s apart for seconds since 1970."""

from __future__ import annotations

from typing import Any

import numpy as np
from recbole.utils import FeatureSource, FeatureType

_PLACE = "place_in_time"


def remember_places(dataset: Any) -> None:
    """Give the rows of a data set, still a DataFrame, a column with each one's place in the user's history.

    Of equal times the first in the file comes first. The rows keep their order.
    """
    rows = dataset.inter_feat
    order = np.argsort(rows[dataset.time_field].to_numpy(), kind="stable")
    rows[_PLACE] = rows.iloc[order].groupby(dataset.uid_field).cumcount().astype(float)  # by the index of the rows
    dataset.set_field_property(_PLACE, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)


def time_order(dataset: Any) -> np.ndarray:
    """Indices of the rows of a data set or of a part of one, such that each user's are in time order.

    The sort is stable: rows whose times float32 cannot tell apart, and whose places were not remembered, keep the order
    in which ``recbole_cfgdiff`` loaded them, which is exact unless the split is random.
    """
    rows = dataset.inter_feat
    return np.argsort(rows[_PLACE if _PLACE in rows else dataset.time_field].numpy(), kind="stable")
