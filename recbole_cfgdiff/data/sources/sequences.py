"""Lines ``user item item item ...`` in time order, as many repositories of sequential recommendation ship data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from recbole_cfgdiff.data.sources.base import (
    WHOLE,
    BadLine,
    Interaction,
    Source,
    TextFile,
    numbered_lines,
    parsed,
    single_file,
)


def open_sequences(path: Path, skip_bad_lines: bool) -> Source:
    """Open a file of sequences. There are no ratings; the place in the line stands for the time.

    Raises:
        ConfigError: if there is not one file; on a bad line, unless they are skipped.
    """
    bad_lines = [0]
    interactions = _interactions(single_file(path, "file of sequences"), bad_lines if skip_bad_lines else None)
    return Source("sequences", {WHOLE: interactions}, bad_lines=bad_lines, time_field="position")


def _interactions(file: TextFile, bad_lines: list[int] | None) -> Iterator[Interaction]:
    position: Counter[str] = Counter()
    for user, *items in parsed(file, numbered_lines(file), _sequence, bad_lines):
        for item in items:
            yield Interaction(user, item, time=float(position[user]))
            position[user] += 1


def _sequence(line: str) -> list[str]:
    words = line.split()
    # What the first word of CSV and JSON has is no part of a user's id.
    if len(words) < 2 or set(words[0]) & set(',{"'):
        raise BadLine(f"expected `user item item ...`, found {line[:80]!r}")
    return words
