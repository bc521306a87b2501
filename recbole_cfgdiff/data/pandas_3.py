"""RecBole 1.2.1 on pandas 3; each is without effect on pandas 2. To go with a RecBole that is made for pandas 3.

It fills columns in place through ``df[column]``, which pandas 3 does not write back (the texts of sequences are
filled where they are read, in ``atomic_data.py``), and counts by ``column.agg(len)``, to which pandas 3 gives the
column where pandas 2 gave each value.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from recbole.utils import FeatureType

from recbole_cfgdiff.compat import replaced

_PANDAS_AGG = pd.Series.agg


def fill_columns(dataset: Any) -> None:
    """Fill in missing values of tokens and numbers, as RecBole's ``_fill_nan`` means to."""
    for name in dataset.feat_name_list:
        rows = getattr(dataset, name)
        for column in rows:
            if dataset.field2type[column] is FeatureType.TOKEN:
                rows[column] = rows[column].fillna(0)
            elif dataset.field2type[column] is FeatureType.FLOAT:
                rows[column] = rows[column].fillna(rows[column].mean())


def _agg(column: pd.Series, func: Any = None, *args: Any, **kwargs: Any) -> Any:
    return column.map(len) if func is len else _PANDAS_AGG(column, func, *args, **kwargs)


@contextmanager
def lengths_by_value() -> Iterator[None]:
    """While a data set is made: ``column.agg(len)`` is of each value."""
    with replaced(pd.Series, agg=_agg):
        yield
