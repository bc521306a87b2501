"""Lines ``user item item item ...`` in time order, as many repositories of sequential recommendation ship data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import WHOLE, Interaction, Source, seconds_of_date, shown
from recbole_cfgdiff.data.convert.sources.input_files import Files
from recbole_cfgdiff.data.convert.sources.reading import BadLine, Reading, numbered_lines, parsed
from recbole_cfgdiff.errors import ConfigError

_SAMPLE = 20  # lines


def open_sequences(files: Files, how: Reading) -> Source:
    """Open a file of sequences. There are no ratings; the place in the line stands for the time.

    Raises:
        ConfigError: if there is not one file; on a bad line, unless they are skipped.
    """
    file = files.single("file of sequences")
    _check_is_no_table(file, how)
    interactions = _interactions(file, how)
    return Source("sequences", {WHOLE: interactions}, how, time_field="position")


def _interactions(file: TextFile, how: Reading) -> Iterator[Interaction]:
    position: Counter[str] = Counter()
    for user, *items in parsed(file, numbered_lines(file, how), _sequence, how):
        for item in items:
            yield Interaction(user, item, time=float(position[user]))
            position[user] += 1


def _check_is_no_table(file: TextFile, how: Reading) -> None:
    """Refuse a file whose first lines are those of a table: a header before numbers, or three columns."""
    words = [line.split() for _, line in islice(numbered_lines(file, how.again()), _SAMPLE)]
    is_number = [all(map(str.isdecimal, each)) for each in words]
    if len(words) > 1 and all(is_number[1:]) and not any(map(str.isdecimal, words[0])):
        raise ConfigError(f"{file}, line 1: expected `user item item ...`, found what names columns; see convert csv")
    if len(words) == _SAMPLE and all(len(each) == 3 for each in words):
        raise ConfigError(
            f"{file}: every line has three words, as a table of users, items and ratings; see convert csv --no-header"
        )


def _sequence(line: str) -> list[str]:
    words = line.split()
    # What the first word of CSV, JSON and a comment has is no part of a user's id.
    is_other = bool(words) and (set(words[0]) & set(',{"') or words[0][0] in "#%")
    has_date = any("-" in word and seconds_of_date(word) is not None for word in words[1:])
    if len(words) < 2 or is_other or has_date:
        raise BadLine(f"expected `user item item ...`, found {shown(line)}")
    return words
