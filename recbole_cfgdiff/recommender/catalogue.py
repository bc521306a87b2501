"""The items of a model: ids, and what the data set says of them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender.ids import Ids

ITEM = "item"  # the column of ids
_TITLES = ("title", "movie_title", "name")  # what data sets call them, and some RecBole's ``token_seq`` too


class Catalogue:
    """Items in the order of a model's columns, without RecBole's padding item.

    Args:
        table: a row an item, with a column ``item`` of different ids, as text, and any others, as text or numbers.

    Attributes:
        title: name of the column of titles, or None.

    Raises:
        ConfigError: without ids, or if one is there twice.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        if ITEM not in table:
            raise ConfigError(f"items: expected a column {ITEM!r} of ids, got {', '.join(map(str, table.columns))}")
        if not table.columns.is_unique:
            raise ConfigError("items: two columns have one name")
        if table[ITEM].isna().any():
            raise ConfigError("items: a row has no item")
        self.table = table.reset_index(drop=True)
        self.ids = Ids("item", [str(each) for each in table[ITEM]])
        self.title = next((name for name in _TITLES if name in table), None)

    def __len__(self) -> int:
        return len(self.ids)

    def titles(self, numbers: np.ndarray) -> np.ndarray:
        """Titles of items by their numbers, objects of the same shape; empty text where there is none."""
        if self.title is None:
            return np.full(numbers.shape, "", dtype=object)
        return self._titles[numbers - 1]

    @cached_property
    def _titles(self) -> np.ndarray:
        return np.array(["" if pd.isna(each) else str(each) for each in self.table[self.title]], dtype=object)

    @cached_property
    def _searched(self) -> pd.Series:
        """What ``search`` looks at, of each item."""
        return pd.Series(self._titles if self.title else self.ids.ids).str.casefold()

    def search(self, text: str, most: int) -> np.ndarray:
        """Numbers of the items whose title has a text in it, in any case, or whose id is it: those that begin with it
        first, then in the order of the items; at most ``most``."""
        wanted = text.casefold()
        everything = np.arange(1, len(self) + 1)
        is_id = self.ids.ids == text
        hits = np.flatnonzero(self._searched.str.contains(wanted, regex=False).to_numpy(dtype=bool) | is_id)
        later = ~(self._searched.str.startswith(wanted).to_numpy(dtype=bool) | is_id)[hits]
        return everything[hits[np.argsort(later, kind="stable")]][:most]
