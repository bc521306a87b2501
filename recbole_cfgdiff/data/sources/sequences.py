"""Lines ``user item item item ...`` in time order, as many repositories of sequential recommendation ship data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from recbole_cfgdiff.data.sources.base import WHOLE, Interaction, Source, TextFile, find_files, lines_of
from recbole_cfgdiff.errors import ConfigError


def open_sequences(path: Path, skip_bad_lines: bool) -> Source:
    """Open a file of sequences. There are no ratings; the place in the line stands for the time.

    Raises:
        ConfigError: if there is not one file; on a bad line, unless they are skipped.
    """
    files = find_files(path)
    if len(files) != 1:
        raise ConfigError(f"{path}: expected one file of sequences, found {', '.join(files) or 'none'}")
    bad_lines = [0]
    interactions = _interactions(next(iter(files.values())), bad_lines if skip_bad_lines else None)
    return Source("sequences", {WHOLE: interactions}, bad_lines=bad_lines, time_field="position")


def _interactions(file: TextFile, bad_lines: list[int] | None) -> Iterator[Interaction]:
    position: Counter[str] = Counter()
    for number, line in enumerate(lines_of(file), start=1):
        user, *items = line.split() or [""]
        if not items:
            if bad_lines is None:
                raise ConfigError(
                    f"{file}, line {number}: expected `user item item ...`, found {line!r}; "
                    "--skip-bad-lines passes over such lines"
                )
            bad_lines[0] += 1
        for item in items:
            yield Interaction(user, item, time=float(position[user]))
            position[user] += 1
