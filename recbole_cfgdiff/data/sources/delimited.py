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
    number_in,
    parsed,
    single_file,
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
    file = single_file(path, "file")
    bad_lines = [0]
    interactions = delimited_interactions(file, columns, bad_lines if skip_bad_lines else None, delimiter)
    return Source(
        f"delimited file, columns {', '.join(filter(None, columns))}", {WHOLE: interactions}, bad_lines=bad_lines
    )


def delimited_interactions(
    file: TextFile, columns: Columns, bad_lines: list[int] | None, delimiter: str = ","
) -> Iterator[Interaction]:
    """The interactions of a delimited file whose header names the columns. Bad lines and errors as in ``parsed``."""
    rows = csv_rows(file, delimiter)
    _, header = next(rows, (1, []))
    user, item, rating, time = (_index_in(header, name, file) if name else None for name in columns)

    def parse(fields: Any) -> Interaction:
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


def _index_in(header: list[str], name: str, file: TextFile) -> int:
    """Where the column is, by its very name or else in any case."""
    lowered = [column.lower() for column in header]
    if name.lower() not in lowered:
        raise ConfigError(f"{file}, line 1: expected a column {name}, found {', '.join(header) or 'nothing'}")
    return header.index(name) if name in header else lowered.index(name.lower())
