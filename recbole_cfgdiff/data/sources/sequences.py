"""Lines ``user item item item ...`` in time order, as many repositories of sequential recommendation ship data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from recbole_cfgdiff.data.sources.archives import Files, TextFile
from recbole_cfgdiff.data.sources.base import WHOLE, Interaction, Source, shown
from recbole_cfgdiff.data.sources.reading import BadLine, Reading, numbered_lines, parsed


def open_sequences(files: Files, how: Reading) -> Source:
    """Open a file of sequences. There are no ratings; the place in the line stands for the time.

    Raises:
        ConfigError: if there is not one file; on a bad line, unless they are skipped.
    """
    interactions = _interactions(files.single("file of sequences"), how)
    return Source("sequences", {WHOLE: interactions}, how, time_field="position")


def _interactions(file: TextFile, how: Reading) -> Iterator[Interaction]:
    position: Counter[str] = Counter()
    for user, *items in parsed(file, numbered_lines(file, how), _sequence, how):
        for item in items:
            yield Interaction(user, item, time=float(position[user]))
            position[user] += 1


def _sequence(line: str) -> list[str]:
    words = line.split()
    # What the first word of CSV and JSON has is no part of a user's id.
    if len(words) < 2 or set(words[0]) & set(',{"'):
        raise BadLine(f"expected `user item item ...`, found {shown(line)}")
    return words
