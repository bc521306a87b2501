"""The queue in front of the model: what waits while a batch is scored becomes the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from recbole_cfgdiff.serving.metrics import Metrics
from recbole_cfgdiff.serving.scoring import Job, Ranking


class QueueFull(Exception):
    """So many requests wait already that one more is refused."""


class _Waiting(NamedTuple):
    job: Job
    answer: asyncio.Future[list[Ranking]]


class Batcher:
    """Scores jobs in batches, by one thread. Nothing waits on purpose: a lone request is a batch.

    Args:
        score: as ``scoring.rankings`` of a recommender.
        most_waiting: jobs.
        most_people: of a batch; a job of more is one of its own.
        metrics: told of each batch.
    """

    def __init__(
        self,
        score: Callable[[Sequence[Job]], list[list[Ranking]]],
        most_waiting: int,
        most_people: int,
        metrics: Metrics,
    ) -> None:
        self._score = score
        self._most_waiting, self._most_people = most_waiting, most_people
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._is_waiting = asyncio.Event()
        metrics.queue_length.set_function(lambda: len(self._waiting))

    async def rankings(self, job: Job) -> list[Ranking]:
        """The rankings of a job's people, when its turn has come.

        Raises:
            QueueFull: at once.
            ConfigError: as ``score``.
        """
        if len(self._waiting) >= self._most_waiting:
            raise QueueFull
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._is_waiting.set()
        return await waiting.answer

    async def run(self) -> None:
        """Score what waits, until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "scoring") as thread:
            while True:
                await self._is_waiting.wait()
                batch = self._take()
                try:
                    answers = await loop.run_in_executor(thread, self._score, [each.job for each in batch])
                except Exception as error:  # theirs who asked: a bug is told by each of their requests
                    for each in batch:
                        if not each.answer.done():
                            each.answer.set_exception(error)
                    continue
                for each, answer in zip(batch, answers, strict=True):
                    if not each.answer.done():
                        each.answer.set_result(answer)

    def _take(self) -> list[_Waiting]:
        """The first that waits, and those behind it that can be scored at once with it."""
        first = self._waiting.popleft()
        batch, left, people = [first], deque[_Waiting](), len(first.job.people)
        for each in self._waiting:
            if each.answer.done():  # its request is gone
                continue
            if people + len(each.job.people) <= self._most_people and each.job.joins(first.job):
                batch.append(each)
                people += len(each.job.people)
            else:
                left.append(each)
        self._waiting = left
        if not left:
            self._is_waiting.clear()
        self._metrics.batch_people.observe(people)
        return batch
