"""What an option may be: its kind, which checks a value.

The options of a run stand in ``overlay/options.py``, a model's hyperparameters in ``model/hyperparameters.py``.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from recbole_cfgdiff.errors import ConfigError

_LARGEST = 2**63 - 1  # of what torch, numpy and Python's own iterators count by


class Kind(Protocol):
    """What values an option takes."""

    @property
    def expected(self) -> str:
        """The kind in words, as messages and the docs have it."""

    def read(self, name: str, value: Any) -> Any:
        """``value``, in the type that the program computes with.

        Raises:
            ConfigError: if it is of another kind; the message names the option, what is expected and what it got.
        """


def refused(name: str, expected: str, value: Any) -> ConfigError:
    """The error about a value of the wrong kind."""
    return ConfigError(f"{name}: expected {expected}, got {value!r}")


@dataclass(frozen=True)
class Flag:
    """True or False."""

    expected: str = "True or False"

    def read(self, name: str, value: Any) -> bool:
        """As of ``Kind``."""
        if not isinstance(value, bool):
            raise refused(name, self.expected, value)
        return value


@dataclass(frozen=True)
class Integer:
    """An integer of at least ``minimum`` and at most ``maximum``."""

    minimum: int = 0
    maximum: int = _LARGEST

    @property
    def expected(self) -> str:
        """As of ``Kind``."""
        below = "" if self.maximum == _LARGEST else f" and at most {self.maximum}"
        return f"an integer of at least {self.minimum}{below}"

    def read(self, name: str, value: Any) -> int:
        """As of ``Kind``."""
        if isinstance(value, bool) or not isinstance(value, int) or value < self.minimum:
            raise refused(name, self.expected, value)
        if value > self.maximum:
            raise refused(name, "an integer below 2^63" if self.maximum == _LARGEST else self.expected, value)
        return value


@dataclass(frozen=True)
class Number:
    """A finite number in ``[low, high]``."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def expected(self) -> str:
        """As of ``Kind``."""
        bounds = f" in [{self.low:g}, {self.high:g}]" if math.isfinite(self.high) else f" of at least {self.low:g}"
        return "a finite number" + (bounds if math.isfinite(self.low) else "")

    def read(self, name: str, value: Any) -> float:
        """As of ``Kind``."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not self.low <= value <= self.high:
            raise refused(name, self.expected, value)
        return float(value)


@dataclass(frozen=True)
class AutoOrNumber:
    """A positive, finite number, or ``'auto'``, which is read as None."""

    expected: str = "auto or a positive number"

    def read(self, name: str, value: Any) -> float | None:
        """As of ``Kind``."""
        if value == "auto":
            return None
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise refused(name, self.expected, value)
        return float(value)


@dataclass(frozen=True)
class Numbers:
    """A list of different finite numbers, of at least ``fewest``; None is an empty one."""

    fewest: int = 0

    @property
    def expected(self) -> str:
        """As of ``Kind``."""
        return "a list of different finite numbers, such as [0, 0.5, 1]" + ("" if self.fewest else ", or None")

    def read(self, name: str, value: Any) -> list[float]:
        """As of ``Kind``."""
        listed = [] if value is None else value
        is_list = isinstance(listed, list) and all(
            type(each) in (int, float) and math.isfinite(each) for each in listed
        )
        if not is_list or len(set(listed)) < len(listed) or len(listed) < self.fewest:
            raise refused(name, self.expected, value)
        return [float(each) for each in listed]


@dataclass(frozen=True)
class Choice:
    """One of ``choices``."""

    choices: Collection[Any]

    @property
    def expected(self) -> str:
        """As of ``Kind``."""
        return f"one of {', '.join(map(str, self.choices))}"

    def read(self, name: str, value: Any) -> Any:
        """As of ``Kind``."""
        if isinstance(value, (list, dict)) or value not in self.choices:
            raise refused(name, self.expected, value)
        return value


@dataclass(frozen=True)
class Sizes:
    """A non-empty list of positive integers."""

    expected: str = "a non-empty list of positive integers, such as [300]"

    def read(self, name: str, value: Any) -> list[int]:
        """As of ``Kind``."""
        if not isinstance(value, list) or not value or not all(type(size) is int and size > 0 for size in value):
            raise refused(name, self.expected, value)
        return value
