"""What the options that select rows and columns may be. RecBole 1.2.1 passes over an interval that it can't read, or
reads it as another."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.options import Form, OrNone, is_list_of_text, is_text, refused

_INTERVAL = re.compile(r"\s*([\[(])([^,;]+),([^,;]+)([\])])\s*")
_AN_INTERVAL = "an interval such as '[4,inf)', or several in ascending order, as '[0,1];(5,inf)'"


class Interval(NamedTuple):
    """The numbers from ``low`` to ``high``."""

    has_low: bool
    low: float
    high: float
    has_high: bool

    def __str__(self) -> str:
        return f"{'[' if self.has_low else '('}{self.low:g},{self.high:g}{']' if self.has_high else ')'}"


def read_intervals(name: str, value: Any) -> list[Interval]:
    """The intervals of an option.

    Args:
        name: of the option, for messages.
        value: text, as ``[4,inf)``, or several in ascending order, as ``[0,1];(5,inf)``. Two numbers in a list or tuple
            are the closed or open interval that Python's literals make of ``[4,5]`` and ``(4,5)``.

    Raises:
        ConfigError: on anything else, an interval without a number in it, or intervals in another order.
    """
    expected = f"{name}: expected {_AN_INTERVAL}"
    intervals: list[Interval] = []
    text = str(value) if isinstance(value, (str, list, tuple)) else ""
    for part in text.split(";"):
        match = _INTERVAL.fullmatch(part)
        try:
            low, high = (float(match[place]) for place in (2, 3)) if match else (math.nan, math.nan)
        except ValueError:
            low = high = math.nan
        if not match or math.isnan(low) or math.isnan(high):
            raise ConfigError(f"{expected}; got {value!r}")
        interval = Interval(match[1] == "[", low, high, match[4] == "]")
        if low > high or (low == high and not (interval.has_low and interval.has_high)):
            raise ConfigError(f"{expected}; there is no number in {part.strip()}")
        if intervals and intervals[-1].high > low:
            raise ConfigError(f"{expected}; got {value!r}")
        intervals.append(interval)
    return intervals


@dataclass(frozen=True)
class Intervals:
    """As ``read_intervals`` takes them."""

    expected: str = _AN_INTERVAL

    def read(self, name: str, value: Any) -> list[Interval]:
        """As of ``Kind``."""
        return read_intervals(name, value)


@dataclass(frozen=True)
class ValuesOfColumns:
    """By the name of a column, intervals or a list of tokens."""

    expected: str = "such as {'rating': '[4,inf)'}"

    def read(self, name: str, value: Any) -> dict[str, Any]:
        """As of ``Kind``."""
        if not isinstance(value, dict) or not all(isinstance(column, str) for column in value):
            raise refused(name, self.expected, value)
        for column, wanted in value.items():
            if not wanted or not is_list_of_text(wanted):
                read_intervals(f"{name}: {column}", wanted)
        return value


def _is_of_one_column(value: Any) -> bool:
    numbers = list(value.values()) if isinstance(value, dict) else []
    return len(numbers) == 1 and type(numbers[0]) in (int, float) and math.isfinite(numbers[0])


def _are_lists(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_list_of_text, value.values()))


def _are_lists_or_stars(value: Any) -> bool:
    return isinstance(value, dict) and all(names == "*" or is_list_of_text(names) for names in value.values())


_SUCH_COLUMNS = "such as {'inter': ['rating']}"
INTERVALS = OrNone(Intervals())
VALUES_OF_COLUMNS = OrNone(ValuesOfColumns())
THRESHOLD = OrNone(Form("one column and a number, such as {'rating': 4}", _is_of_one_column))
COLUMNS_BY_FILE = OrNone(Form(_SUCH_COLUMNS, _are_lists))
COLUMNS_BY_FILE_OR_ALL = OrNone(Form(_SUCH_COLUMNS, _are_lists_or_stars))
COLUMN = Form("the name of a column", is_text)
