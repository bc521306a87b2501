"""The lists of several requests, by one call of the recommender."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.ids import Ids
from recbole_cfgdiff.recommender.recommender import Asked, Lists

Ranking = list[dict[str, Any]]  # of a person: ``Recommended`` as plain values


@dataclass(frozen=True)
class Job:
    """What a request asks for.

    Attributes:
        people: ids of known users, or histories.
        are_known: whether they are users.
        asked: the rest.
    """

    people: Sequence[Any]
    are_known: bool
    asked: Asked

    def joins(self, other: Job) -> bool:
        """Whether both can be scored at once. Diverse lists take a pool of items with their vectors: they are alone."""
        return self.asked.diversify is None and self.are_known == other.are_known and self.asked == other.asked


def knows_all(recommender: Recommender, job: Job) -> bool:
    """Whether all ids of a job are known. Errors as of ``check_ids``, but for unknown ids."""
    return all(ids.are_known(named) for ids, named in _named(recommender, job))


def check_ids(recommender: Recommender, job: Job) -> None:
    """Refuse unknown ids, before a job joins others.

    Raises:
        ConfigError: on an unknown one, whose nearest is named, which takes a while of many items; or if there are
            users, and the model knows nobody.
    """
    for ids, named in _named(recommender, job):
        ids.numbers(named)


def _named(recommender: Recommender, job: Job) -> Iterator[tuple[Ids, list[Any]]]:
    """All ids of users and of items that a job names."""
    items = [*job.asked.exclude, *(job.asked.candidates or ())]
    if job.are_known:
        yield recommender.known_users().ids, list(job.people)
    else:
        items += [item for history in job.people for item in history]
    yield recommender.items.ids, items


def rankings(recommender: Recommender, jobs: Sequence[Job]) -> list[list[Ranking]]:
    """For each job a ranking a person.

    Args:
        recommender: of which no other thread asks meanwhile.
        jobs: at least one, which join the first.

    Raises:
        ConfigError: if the model has no scores for such people, or none that are numbers.
    """
    first = jobs[0]
    people = [person for job in jobs for person in job.people]
    lists = recommender.for_users if first.are_known else recommender.for_histories
    of_people = (ranking for batch in lists(people, first.asked) for ranking in _rankings(recommender, batch))
    return [[next(of_people) for _ in job.people] for job in jobs]


def _rankings(recommender: Recommender, lists: Lists) -> Iterator[Ranking]:
    for items, scores in zip(lists.items, lists.scores):
        is_there = items > 0
        items, scores = items[is_there], scores[is_there]
        lines = zip(recommender.items.ids.of(items), scores.tolist(), titles(recommender, items))
        yield [
            {"item": item, "title": title, "rank": rank, "score": score}
            for rank, (item, score, title) in enumerate(lines, 1)
        ]


def titles(recommender: Recommender, items: np.ndarray) -> list[str | None]:
    """Titles of items by their numbers; None where there is none."""
    return [title or None for title in recommender.items.titles(items)]
