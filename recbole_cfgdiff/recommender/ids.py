"""Ids as they stand in the data, and the numbers that a model has for them. Number 0 is RecBole's padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import pandas as pd

from recbole_cfgdiff.errors import ConfigError, nearest

_TOLD = 5  # unknown ids that a message names
_COMPARED = 2000  # ids that each of them is compared with, which is slow


class Ids:
    """Ids of users or items; the ``i``-th, from 0, has the number ``i + 1``.

    Args:
        what: ``user`` or ``item``, for messages.
        ids: all different.

    Raises:
        ConfigError: on one that is there twice.
    """

    def __init__(self, what: str, ids: Sequence[str]) -> None:
        self.what = what
        self.ids = np.array(ids, dtype=object)
        self._index = pd.Index(self.ids)
        if not self._index.is_unique:
            raise ConfigError(f"{what}s: {self._index[self._index.duplicated()][0]!r} is there twice")

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self, ids: Iterable[object]) -> np.ndarray:
        """The numbers of some ids, int64, shape ``(len(ids),)``; numbers as ids are taken by their text.

        Raises:
            ConfigError: if there are unknown ones: how many, and for some of them the nearest known one.
        """
        wanted = np.array([str(each) for each in ids], dtype=object)
        found = self._places(wanted)
        if (found < 0).any():
            raise self._unknown(list(dict.fromkeys(wanted[found < 0])), len(set(wanted)))
        return found.astype(np.int64) + 1

    def are_known(self, ids: Iterable[object]) -> bool:
        """Whether ``numbers`` would be no error, which takes a while where it names the nearest of many ids."""
        return bool((self._places(np.array([str(each) for each in ids], dtype=object)) >= 0).all())

    def _places(self, wanted: np.ndarray) -> np.ndarray:
        return self._index.get_indexer(pd.Index(wanted, dtype=object))

    def _unknown(self, unknown: Sequence[str], asked: int) -> ConfigError:
        told = []
        for each in unknown[:_TOLD]:
            similar = nearest(each, self._alike(each))
            told.append(f"{each!r} (nearest: {similar[0]!r})" if similar else repr(each))
        rest = f" and {len(unknown) - _TOLD} more" if len(unknown) > _TOLD else ""
        return ConfigError(
            f"{self.what}s: {len(unknown)} of {asked} {self.what}s are unknown to the model: {', '.join(told)}{rest}"
        )

    def _alike(self, wanted: str) -> Sequence[str]:
        """Those to look for the nearest among: of many ids some of the same beginning and about the same length."""
        if len(self.ids) <= _COMPARED:
            return list(self.ids)
        alike = (each for each in self.ids if each[:1] == wanted[:1] and abs(len(each) - len(wanted)) <= 1)
        return list(islice(alike, _COMPARED))

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """The ids of some numbers of at least 1, objects of the same shape."""
        return self.ids[numbers - 1]
