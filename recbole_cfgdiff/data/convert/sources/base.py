"""What all sources share: the shape of what they yield, and the values in it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from recbole_cfgdiff.data.convert.sources.reading import BadLine, Reading, is_text

WHOLE = ""
_HIGHEST_RATING = 10  # of what is laid out as MovieLens; MovieLens, Amazon and Yelp themselves end at 5

_DATE = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?\s?(?:(Z|UTC|GMT)|([+-])(\d\d):?(\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_EPOCH = datetime(1970, 1, 1)

# How many of each are a second. Times are below 1e11 seconds up to the year 5138, above 1e11 milliseconds from 1973 on.
TIME_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_LATEST = 1e11  # seconds
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_DATES = "ISO 8601, UTC where it names no zone"


class Interaction(NamedTuple):
    """A user's interaction with an item; the time in seconds since 1970, UTC."""

    user: str
    item: str
    rating: float | None = None
    time: float | None = None


class Features(NamedTuple):
    """Of a ``.user`` or ``.item`` file.

    Attributes:
        columns: ``name:type`` as in atomic files.
        rows: the id first; a list in the columns of type token_seq.
        how: how the rows are read, and what reading them found out.
    """

    columns: list[str]
    rows: Iterable[list[Any]]
    how: Reading


@dataclass
class Source:
    """An opened source.

    Attributes:
        description: what was found, for the user.
        parts: the interactions, one for every good line, by the names of the parts of a given split, to be read one
            part after another; or, as they are, under the name of ``WHOLE``.
        how: how they are read, and what reading them found out.
        items: features of items, or None.
        users: features of users, or None.
        time_field: what the times are: ``timestamp`` (seconds since 1970) or ``position`` (the place in time order).
    """

    description: str
    parts: dict[str, Iterator[Interaction]]
    how: Reading
    items: Features | None = None
    users: Features | None = None
    time_field: str = "timestamp"


def shown(value: Any) -> str:
    """``value`` for a message, no longer than a line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # of an integer of thousands of digits, of lists in lists
        return f"a large {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."


def id_in(name: str, value: Any) -> str:
    """``value`` as an id: text, or a whole number.

    Raises:
        BadLine: if it is empty, of another kind, or text that no file can hold (half of a surrogate pair in JSON).
    """
    try:
        text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    except ValueError:  # Python writes no integers of thousands of digits
        text = ""
    if not text or not is_text(text):
        raise BadLine(f"expected an id for the {name}, found {shown(value)}")
    return text


def number_in(name: str, text: Any) -> float:
    """``text`` as a finite number.

    Raises:
        BadLine: if it is none.
    """
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    # float() also takes True and 1_000.
    if not math.isfinite(value) or isinstance(text, bool) or (isinstance(text, str) and "_" in text):
        expected = "a number or an ISO 8601 date" if name == "time" else "a number"
        raise BadLine(f"expected {expected} for the {name}, found {shown(text)}")
    return value


def stars_in(name: str, text: Any) -> float:
    """``text`` as a rating of MovieLens, Amazon or Yelp.

    Raises:
        BadLine: if it is none, as where columns are swapped.
    """
    value = number_in(name, text)
    if not 0 <= value <= _HIGHEST_RATING:
        raise BadLine(f"expected a number from 0 to {_HIGHEST_RATING} for the {name}, found {shown(text)}")
    return value


def seconds_of_date(text: str) -> float | None:
    """Seconds since 1970 of a date and time in ISO 8601, in UTC if it names no zone; None if it is none."""
    match = _DATE.fullmatch(text)
    if not match:
        return None
    *parts, fraction, _, sign, zone_hours, zone_minutes = match.groups(default="0")
    year, month, day, hour, minute, second = map(int, parts)
    if int(zone_hours) > 23 or int(zone_minutes) > 59:
        return None
    try:
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    since = moment - _EPOCH
    offset = int(zone_hours) * 3600 + int(zone_minutes) * 60
    whole = since.days * 86400 + since.seconds + (offset if sign == "-" else -offset)
    # The nearest to what is written; a sum of the two parts may not be.
    return float(f"{whole}.{fraction}") if whole >= 0 else whole + float(f"0.{fraction}")


class Clock:
    """Times of one column as seconds since 1970. The first one tells the unit, which must be that of all.

    Args:
        how: is told the unit.
        unit: one of ``TIME_UNITS``, or None.
    """

    def __init__(self, how: Reading, unit: str | None = None) -> None:
        self._how = how
        self._is_given = unit is not None
        self._unit = unit
        self._has_zeros = False
        if unit:
            how.notes["times read as"] = _UNIT_NAMES[unit]

    def seconds(self, text: Any) -> float:
        """A time, written as a number or as a date.

        Raises:
            BadLine: if it is none, or of another unit than the first one.
        """
        seconds = None if self._is_given or not isinstance(text, str) else self._date(text.strip())
        return self._number(text) if seconds is None else seconds

    def _date(self, text: str) -> float | None:
        if text.isdecimal():
            is_date = len(text) in (8, 14) and seconds_of_date(f"{text[:8]}T{text[8:] or '00'}") is not None
            if self._unit is None and is_date:
                raise BadLine(
                    f"found {shown(text)} for the time, which may be a date without separators; write it as "
                    "2005-12-31, or say by --time-unit what the number is"
                )
            return None
        seconds = seconds_of_date(text)
        if seconds is not None and self._has_zeros:
            raise BadLine(f"expected a number for the time as the 0 before, found {shown(text)}")
        if seconds is not None:
            self._agree(_DATES, text)
        return seconds

    def _number(self, text: Any) -> float:
        value = number_in("time", text)
        if value == 0 and self._unit != _DATES:
            self._has_zeros = True  # which are of any unit, but no dates
            return value
        if not self._is_given:
            self._agree(_unit_of(value), text)
        factor = TIME_UNITS[self._unit or "s"]
        # Of nanoseconds a float has not all digits.
        return int(text) / factor if isinstance(text, str) and text.isdecimal() else value / factor

    def _agree(self, unit: str, text: Any) -> None:
        if self._unit is None:
            self._unit = unit
            self._how.notes["times read as"] = _UNIT_NAMES.get(unit, unit)
        elif unit != self._unit:
            raise BadLine(
                f"expected a time in {_UNIT_NAMES.get(self._unit, self._unit)} as before, found {shown(text)}; "
                "convert csv --time-unit says what numbers are"
            )


def _unit_of(value: float) -> str:
    for unit, factor in TIME_UNITS.items():
        if abs(value) < _LATEST * factor:
            return unit
    raise BadLine(f"expected a time, found {value:g}")
