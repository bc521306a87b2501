"""Any delimited file with a header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cfgdiff.data.sources.base import (
    WHOLE,
    BadLine,
    Interaction,
    Source,
    TextFile,
    csv_rows,
    find_files,
    number_in,
    parsed,
)
from recbole_cfgdiff.errors import ConfigError


class Columns(NamedTuple):
    """Names of the columns; no rating or no time where None."""

    user: str
    item: str
    rating: str | None
    time: str | None


def open_delimited(path: Path, skip_bad_lines: bool, columns: Columns, delimiter: str = ",") -> Source:
    """Open a delimited file with a header.

    Raises:
        ConfigError: if a column is missing; on a bad line, unless they are skipped.
    """
    files = find_files(path)
    if len(files) != 1:
        raise ConfigError(f"{path}: expected one file, found {', '.join(files) or 'none'}")
    file = next(iter(files.values()))
    bad_lines = [0]
    interactions = _interactions(file, columns, delimiter, bad_lines if skip_bad_lines else None)
    return Source(
        f"delimited file, columns {', '.join(filter(None, columns))}", {WHOLE: interactions}, bad_lines=bad_lines
    )


def _interactions(
    file: TextFile, columns: Columns, delimiter: str, bad_lines: list[int] | None
) -> Iterator[Interaction]:
    rows = csv_rows(file, "utf-8-sig", delimiter)
    _, header = next(rows, (1, []))
    missing = [name for name in columns if name and name not in header]
    if missing:
        raise ConfigError(f"{file}, line 1: expected a column {missing[0]}, found {', '.join(header) or 'nothing'}")
    user, item, rating, time = (header.index(name) if name else None for name in columns)

    def parse(row: object) -> Interaction:
        fields: Any = row
        if len(fields) != len(header):
            raise BadLine(f"expected {len(header)} columns, found {len(fields)}")
        if not fields[user] or not fields[item]:
            raise BadLine("expected a user and an item, found an empty one")
        return Interaction(
            fields[user],
            fields[item],
            None if rating is None else number_in("rating", fields[rating]),
            None if time is None else number_in("time", fields[time]),
        )

    return parsed(file, rows, parse, bad_lines)
