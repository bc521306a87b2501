"""The exact order of interactions in time: RecBole's times are float32, 64 to 128 s apart for seconds since 1970."""

from __future__ import annotations

from typing import Any

import numpy as np
from recbole.utils import FeatureSource, FeatureType

_PLACE = "place_in_time"


def exact_times(dataset: Any) -> np.ndarray:
    """Times of the rows of a data set, still a DataFrame; float64. Of a feature to embed (``numerical_features``)
    RecBole makes pairs, of which the first is the number."""
    times = dataset.inter_feat[dataset.time_field]
    return np.array([time[0] for time in times] if times.dtype == object else times, dtype=float)


def remember_places(dataset: Any) -> None:
    """Give the rows of a data set, still a DataFrame, a column with each one's place in the user's history.

    Of equal times the first in the file comes first. The rows keep their order.
    """
    rows = dataset.inter_feat
    order = np.argsort(exact_times(dataset), kind="stable")
    rows[_PLACE] = rows.iloc[order].groupby(dataset.uid_field).cumcount().astype(float)  # by the index of the rows
    dataset.set_field_property(_PLACE, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)


def places_in_time(dataset: Any) -> np.ndarray:
    """The places that were remembered of the rows of a data set; zeros where none were."""
    rows = dataset.inter_feat
    return rows[_PLACE].numpy() if _PLACE in rows else np.zeros(len(rows))


def time_order(dataset: Any) -> np.ndarray:
    """Indices of the rows of a data set or of a part of one, such that each user's are in time order.

    The sort is stable: rows whose times float32 cannot tell apart, and whose places were not remembered, keep the order
    in which ``recbole_cfgdiff`` loaded them, which is exact unless the split is random.
    """
    rows = dataset.inter_feat
    times = rows[_PLACE if _PLACE in rows else dataset.time_field].numpy()
    return np.argsort(times if times.ndim == 1 else times[:, 0], kind="stable")
