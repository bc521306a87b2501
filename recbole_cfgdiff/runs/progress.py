"""How far an experiment is, and what time is left as far as that can be told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

_SECONDS_BETWEEN_LINES = 60
# A run is far slower than the others if it takes so many times as long as the slowest of them.
_FAR_SLOWER = 5
_MOST_NAMES = 3


class Epochs(NamedTuple):
    """How far a run is.

    Attributes:
        done: epochs that were trained.
        most: epochs that there will be, if it does not stop early.
        seconds: that the training has taken, interruptions left out.
    """

    done: int
    most: int
    seconds: float


class _Active:
    """A run that is going on."""

    def __init__(self, kind: str, started: float) -> None:
        self.kind, self.started = kind, started
        self.epochs: Epochs | None = None


class _Estimate(NamedTuple):
    seconds: float
    is_bound: bool  # more than that it can't be, if its epochs go on as they began


class Progress:
    """Says how far the runs of an experiment are, now and then, and what time is left.

    A run is expected to take as long as the ended ones of its kind; where there is none, as many epochs as there can
    be, each as long as those of a run of its kind so far. Of other kinds it is said that they are not timed yet.

    Args:
        kinds: of the runs that are to be done, such as ``SASRec on ml-100k``.
        jobs: runs at a time.
        say: called with a line, at most once a minute and only if something has changed.
        clock: seconds.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        jobs: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._say, self._clock = jobs, say, clock
        self._waiting = Counter(kinds)
        self._took: dict[str, list[float]] = {}
        self._active: dict[str, _Active] = {}
        self._said, self._said_at = self._state(), clock()

    def took(self, kind: str, seconds: float) -> None:
        """A run of that kind ended well in so many seconds, here or before."""
        self._took.setdefault(kind, []).append(seconds)

    def skip(self, kind: str) -> None:
        """A run of that kind that was to be done needs not be."""
        self._waiting[kind] -= 1

    def start(self, name: str, kind: str) -> None:
        """A run begins."""
        self.skip(kind)
        self._active[name] = _Active(kind, self._clock())

    def update(self, name: str, epochs: Epochs | None) -> None:
        """How far a run is."""
        self._active[name].epochs = epochs

    def end(self, name: str) -> float:
        """A run has ended; the seconds it took."""
        active = self._active.pop(name)
        seconds = self._elapsed(active)
        self._said, self._said_at = self._state(), self._clock()  # who calls this says a line
        return seconds

    def line(self) -> None:
        """Say how far everything is, if it is time to."""
        state = self._state()
        if state == self._said or self._clock() - self._said_at < _SECONDS_BETWEEN_LINES:
            return
        self._said, self._said_at = state, self._clock()
        parts = [self._told(name, active) for name, active in self._active.items()]
        self._say("; ".join([*parts, self.left()]))

    def left(self) -> str:
        """The time that is left, and the runs of which nothing is known; empty if there are none."""
        estimates = [self._rest(active) for active in self._active.values()]
        unknown = Counter(active.kind for active, known in zip(self._active.values(), estimates) if known is None)
        longest = max((known.seconds for known in estimates if known), default=0.0)
        for kind, count in self._waiting.items():
            if (whole := self._whole(kind)) is None:
                unknown[kind] += count
            else:
                estimates += [whole] * count
        known = [estimate for estimate in estimates if estimate]
        told = []
        if known:
            seconds = max(longest, sum(each.seconds for each in known) / self._jobs)
            told.append(f"{'at most ' * any(each.is_bound for each in known)}about {duration(seconds)} left")
        if unknown := +unknown:
            count = sum(unknown.values())
            told.append(f"{count} run{'s' * (count > 1)} of {_listed(list(unknown))} not timed yet")
        return ", and ".join(told)

    def _elapsed(self, active: _Active) -> float:
        return self._clock() - active.started

    def _whole(self, kind: str) -> _Estimate | None:
        """What a run of the kind is expected to take."""
        if took := self._took.get(kind):
            return _Estimate(sum(took) / len(took), False)
        begun = [active.epochs for active in self._active.values() if active.kind == kind and active.epochs]
        bounds = [epochs.most * epochs.seconds / epochs.done for epochs in begun if epochs.done]
        return _Estimate(max(bounds), True) if bounds else None

    def _rest(self, active: _Active) -> _Estimate | None:
        """What is left of a run that is going on."""
        epochs = active.epochs
        elapsed = max(self._elapsed(active), epochs.seconds if epochs else 0.0)
        whole = self._whole(active.kind)
        if whole and not whole.is_bound and whole.seconds > elapsed:
            return _Estimate(whole.seconds - elapsed, False)
        if epochs and epochs.done:
            return _Estimate((epochs.most - epochs.done) * epochs.seconds / epochs.done, True)
        return None

    def _state(self) -> list[tuple[str, int, bool]]:
        """What a new line would tell."""
        return [
            (name, active.epochs.done if active.epochs else 0, self._is_far_slower(active))
            for name, active in self._active.items()
        ]

    def _is_far_slower(self, active: _Active) -> bool:
        slowest = max((max(took) for took in self._took.values()), default=float("inf"))
        return self._elapsed(active) > max(_SECONDS_BETWEEN_LINES, _FAR_SLOWER * slowest)

    def _told(self, name: str, active: _Active) -> str:
        epochs, elapsed = active.epochs, duration(self._elapsed(active))
        done = f"epoch {epochs.done} of at most {epochs.most}" if epochs and epochs.done else "no epoch validated yet"
        slowest = duration(max((max(took) for took in self._took.values()), default=0.0))
        slow = f", far slower than the others, which took at most {slowest}" * self._is_far_slower(active)
        return f"{name}: {done}, {elapsed} so far{slow}"


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def duration(seconds: float) -> str:
    """Seconds in words."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
