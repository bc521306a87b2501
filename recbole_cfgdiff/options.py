"""What an option may be: its kind, which checks a value.

The options of a run stand in ``overlay/options.py``, a model's hyperparameters in ``scoring/hyperparameters.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
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
    """An integer of at least ``minimum`` (None: any) and at most ``maximum``."""

    minimum: int | None = 0
    maximum: int = _LARGEST

    @property
    def expected(self) -> str:
        """As of ``Kind``."""
        above = "" if self.maximum == _LARGEST else f", {self._to_maximum.removeprefix('an integer ')}"
        return self._from_minimum + above

    @property
    def _from_minimum(self) -> str:
        return "an integer" if self.minimum is None else f"an integer of at least {self.minimum}"

    @property
    def _to_maximum(self) -> str:
        is_of_bits = self.maximum & (self.maximum + 1) == 0 and self.maximum > 1
        return f"an integer below 2^{self.maximum.bit_length()}" if is_of_bits else f"at most {self.maximum}"

    def read(self, name: str, value: Any) -> int:
        """As of ``Kind``."""
        if type(value) is not int or (self.minimum is not None and value < self.minimum):
            raise refused(name, self._from_minimum, value)
        if value > self.maximum:
            raise refused(name, self._to_maximum, value)
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
        if not any(type(value) is type(choice) and value == choice for choice in self.choices):  # 1 is not True
            raise refused(name, self.expected, value)
        return value


@dataclass(frozen=True)
class Word:
    """One of ``choices``, in capitals or not."""

    choices: Collection[str]

    @property
    def expected(self) -> str:
        """As of ``Kind``."""
        return f"one of {', '.join(self.choices)}"

    def read(self, name: str, value: Any) -> str:
        """As of ``Kind``."""
        for choice in self.choices:
            if str(value).lower() == choice.lower():
                return choice
        raise refused(name, self.expected, value)


@dataclass(frozen=True)
class Sizes:
    """A non-empty list of positive integers."""

    expected: str = "a non-empty list of positive integers, such as [300]"

    def read(self, name: str, value: Any) -> list[int]:
        """As of ``Kind``."""
        if not isinstance(value, list) or not value or not all(type(size) is int and size > 0 for size in value):
            raise refused(name, self.expected, value)
        return value


@dataclass(frozen=True)
class Form:
    """What a function takes for right."""

    expected: str
    is_right: Callable[[Any], bool]

    def read(self, name: str, value: Any) -> Any:
        """As of ``Kind``."""
        if not self.is_right(value):
            raise refused(name, self.expected, value)
        return value


@dataclass(frozen=True)
class OrNone:
    """None, or what ``kind`` takes."""

    kind: Kind

    @property
    def expected(self) -> str:
        """As of ``Kind``."""
        return f"{self.kind.expected}, or None"

    def read(self, name: str, value: Any) -> Any:
        """As of ``Kind``."""
        return None if value is None else self.kind.read(name, value)


def is_text(value: Any) -> bool:
    """Whether it is text, and not empty."""
    return isinstance(value, str) and bool(value)


def is_list_of_text(value: Any) -> bool:
    """Whether it is a list, empty or not, of what ``is_text``."""
    return isinstance(value, list) and all(map(is_text, value))


def is_dictionary(value: Any) -> bool:
    """Whether it has keys and values."""
    return isinstance(value, dict)


ANYTHING = Form("any value", lambda _: True)
TEXT = Form("text", is_text)
