"""Lists of recommendations for known users and for anybody with a history."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender.catalogue import ITEM, Catalogue
from recbole_cfgdiff.recommender.diversify import maximal_marginal_relevance
from recbole_cfgdiff.recommender.ids import Ids
from recbole_cfgdiff.recommender.source import Source
from recbole_cfgdiff.scoring.histories import Histories

SCORES = 2**23  # users times items scored at once: 32 MiB, as in an evaluation
_POOL = 10  # of so many times topk items, the best, a diverse list is chosen

History = Sequence[object]


@dataclass(frozen=True)
class Asked:
    """What is asked for, beside for whom.

    Attributes:
        topk: length of a list; shorter where fewer items are left.
        guidance_scale: 0 unguided, 1 guided, above 1 extrapolated; None is the model's own.
        include_seen: whether items of the history may be recommended.
        exclude: ids of items that are never recommended.
        candidates: ids of the only items that may be recommended; None: all.
        diversify: lambda of maximal marginal relevance, in [0, 1]: 1 keeps the ranking, less makes it more diverse.
            None does not look at it.

    Raises:
        ConfigError: on a value out of its range.
    """

    topk: int = 10
    guidance_scale: float | None = None
    include_seen: bool = False
    exclude: Collection[object] = ()
    candidates: Collection[object] | None = None
    diversify: float | None = None

    def __post_init__(self) -> None:
        for name in ("exclude", "candidates"):
            _check_several(name, getattr(self, name))
        if type(self.topk) is not int or self.topk < 1:
            raise ConfigError(f"topk: expected an integer of at least 1, got {self.topk!r}")
        if self.guidance_scale is not None and not is_scale(self.guidance_scale):
            raise ConfigError(f"guidance_scale: expected a finite number of 32 bits, got {self.guidance_scale!r}")
        if self.diversify is not None and not (_is_finite(self.diversify) and 0 <= self.diversify <= 1):
            raise ConfigError(f"diversify: expected a number between 0 and 1, got {self.diversify!r}")


def _check_several(name: str, given: object) -> None:
    """Refuse a text, which Python would take for its letters."""
    if isinstance(given, (str, bytes)):
        raise ConfigError(f"{name}: expected a list, got the text {given!r}")


def is_scale(value: object) -> bool:
    """Whether a value can be a guidance scale."""
    return _is_finite(value) and abs(value) <= torch.finfo(torch.float32).max  # type: ignore[arg-type]


def _is_finite(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


class Lists(NamedTuple):
    """Recommendations of a batch of users; a row a user, best first.

    Attributes:
        rows: of the users among all that were asked for, int64, shape ``(B,)``.
        items: numbers of items, int64, shape ``(B, k)``; 0 where no item was left.
        scores: float32, shape ``(B, k)``; minus infinity where no item was left.
    """

    rows: np.ndarray
    items: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Users:
    """Those whom a model knows.

    Attributes:
        ids: theirs.
        histories: all their items, not only those that the model was trained on, in time order where there are times.
            Row 0 is RecBole's padding user.
    """

    ids: Ids
    histories: Histories


@dataclass(frozen=True)
class Recommender:
    """A trained model with all that it takes to recommend.

    Attributes:
        source: of the scores.
        items: what can be recommended.
        users: known ones; None without.
        guidance_scale: where none is asked for.
        about: what is known of the model, for the exported folder and its card: plain values.
    """

    source: Source
    items: Catalogue
    users: Users | None = None
    guidance_scale: float = 1.0
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Recommender:
        """A model from its exported folder, or from a run's folder, which needs RecBole and the data set.

        Raises:
            ConfigError: if it is neither, or damaged; nothing in it is executed.
        """
        from recbole_cfgdiff.recommender.folder import CONFIG

        if (Path(path).expanduser() / CONFIG).exists():
            return cls.from_pretrained(path)
        from recbole_cfgdiff.runs.trained import recommender_of_run

        return recommender_of_run(path)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Recommender:
        """A model from the folder that ``save_pretrained`` wrote; needs no RecBole.

        Raises:
            ConfigError: if it is none, of a newer format, or damaged; nothing in it is executed.
        """
        from recbole_cfgdiff.recommender.folder import load

        return load(Path(folder).expanduser())

    def save_pretrained(self, folder: str | Path, with_histories: bool = True, also: Collection[str] = ()) -> None:
        """Write the model as a folder, which must not be there yet.

        Args:
            folder: its path.
            with_histories: keep the known users' histories, or nothing of any user.
            also: ``vectors``, those of items and users as Parquet; ``onnx``, the model as a graph.

        Raises:
            ConfigError: if the folder is there, or if the model needs RecBole for its scores.
            OSError: if it can't be written.
        """
        from recbole_cfgdiff.recommender.folder import save

        save(self, Path(folder).expanduser(), with_histories, also)

    def recommend(
        self, users: Sequence[object] | None = None, histories: Sequence[History] | None = None, **asked: Any
    ) -> pd.DataFrame:
        """Lists for known users, or for anybody.

        Args:
            users: ids of known users.
            histories: instead of ``users``, for each person the ids of the items so far, the earliest first; an empty
                one gets the unguided list.
            asked: the attributes of ``Asked``.

        Returns:
            ``user`` (the id, or the place among the histories), ``rank`` from 1, ``item``, ``score``, and the title
            where items have one.

        Raises:
            ConfigError: on an unknown id, or a value out of its range.
        """
        if (users is None) == (histories is None):
            raise ConfigError("recommend: give either users or histories")
        for name, given in (("users", users), ("histories", histories)):
            _check_several(name, given)
        if users is not None:
            labels = np.array([str(each) for each in users], dtype=object)
            lists = self.for_users(users, Asked(**asked))
        else:
            labels = np.arange(len(histories or ()))
            lists = self.for_histories(histories or (), Asked(**asked))
        frames = [self.table(labels, batch) for batch in lists]
        return pd.concat(frames, ignore_index=True) if frames else self.table(labels, _NOTHING)

    def for_users(self, users: Sequence[object], asked: Asked) -> Iterator[Lists]:
        """Lists for known users, a batch at a time; what is asked is checked at once. Errors as of ``recommend``."""
        known = self.known_users()
        numbers = torch.from_numpy(known.ids.numbers(users))
        return self._lists(known.histories, numbers, numbers, asked)

    def known_users(self) -> Users:
        """Those whom the model knows.

        Raises:
            ConfigError: if it knows nobody.
        """
        if self.users is None:
            raise ConfigError("users: this model was exported without its users' histories; give a history")
        return self.users

    def for_histories(self, histories: Sequence[History], asked: Asked) -> Iterator[Lists]:
        """Lists for anybody, as ``for_users``."""
        return self._lists(self.numbered(histories), torch.arange(len(histories)), None, asked)

    def numbered(self, histories: Sequence[History]) -> Histories:
        """Anybody's histories by the numbers of their items, one a row. Errors as of ``recommend``."""
        for history in histories:
            _check_several("histories: a history", history)
        lists = [list(history) for history in histories]
        rows = np.repeat(np.arange(len(lists)), [len(each) for each in lists])
        items = self.items.ids.numbers(item for each in lists for item in each)
        return Histories.of_pairs(rows, items, len(lists), self.source.n_items)

    def _lists(
        self, histories: Histories, rows: torch.Tensor, users: torch.Tensor | None, asked: Asked
    ) -> Iterator[Lists]:
        if asked.guidance_scale is not None and not self.source.is_guided:
            raise ConfigError("guidance_scale: the scores of this model do not depend on it; leave it out")
        scale = self.guidance_scale if asked.guidance_scale is None else float(asked.guidance_scale)
        return self._batches(histories, rows, users, asked, scale, self._barred(asked))

    def _barred(self, asked: Asked) -> torch.Tensor:
        """Numbers of the items that nobody is recommended, int64."""
        barred = torch.zeros(self.source.n_items, dtype=torch.bool)
        if asked.candidates is not None:
            barred[:] = True
            barred[self.items.ids.numbers(asked.candidates)] = False
        barred[self.items.ids.numbers(asked.exclude)] = True
        barred[0] = True  # the padding item
        return barred.nonzero().squeeze(1)

    def _batches(
        self,
        histories: Histories,
        rows: torch.Tensor,
        users: torch.Tensor | None,
        asked: Asked,
        scale: float,
        barred: torch.Tensor,
    ) -> Iterator[Lists]:
        size = max(1, SCORES // self.source.n_items)
        with torch.no_grad(), self.source.fixed_weights():
            for start in range(0, len(rows), size):
                batch = slice(start, start + size)
                selected = self.source.rows(histories, rows[batch])
                if users is None:
                    scores = self.source.of_histories(selected, scale)
                else:
                    scores = self.source.of_users(users[batch], selected, scale)
                if not asked.include_seen:
                    scores[selected.row, selected.items] = -torch.inf
                scores.index_fill_(1, barred.to(scores.device), -torch.inf)
                yield self._best(np.arange(start, start + len(scores)), scores, asked)

    def _best(self, rows: np.ndarray, scores: torch.Tensor, asked: Asked) -> Lists:
        topk = min(asked.topk, scores.shape[1])
        pool = topk if asked.diversify is None else min(_POOL * topk, scores.shape[1])
        best, items = scores.topk(pool, dim=1)  # which takes what is no number for the largest
        if not (best[:, 0] < torch.inf).all():
            raise ConfigError(
                "scores: some are beyond the numbers of 32 bits; choose a guidance_scale nearer to 1, or train anew"
            )
        if asked.diversify is not None:
            chosen = maximal_marginal_relevance(best, self.source.similarity_vectors()[items], topk, asked.diversify)
            best, items = best.gather(1, chosen), items.gather(1, chosen)
        items = items.masked_fill(best == -torch.inf, 0)
        return Lists(rows, items.cpu().numpy(), best.float().cpu().numpy())

    def table(self, labels: np.ndarray, lists: Lists) -> pd.DataFrame:
        """A batch as ``recommend`` returns it; ``labels`` are those of all who were asked for."""
        is_there = lists.items > 0
        row, place = is_there.nonzero()
        items = lists.items[is_there]
        columns = {"user": labels[lists.rows[row]], "rank": place + 1, ITEM: self.items.ids.of(items)}
        columns["score"] = lists.scores[is_there]
        if self.items.title is not None:
            columns[self.items.title] = self.items.titles(items)
        return pd.DataFrame(columns)


_NOTHING = Lists(np.empty(0, int), np.empty((0, 1), int), np.empty((0, 1), np.float32))
