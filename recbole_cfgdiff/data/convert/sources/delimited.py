"""Any delimited file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import WHOLE, Clock, Interaction, Source, number_in, shown
from recbole_cfgdiff.data.convert.sources.input_files import Files
from recbole_cfgdiff.data.convert.sources.reading import BadLine, Reading, csv_rows, parsed, split_rows
from recbole_cfgdiff.errors import ConfigError


class Layout(NamedTuple):
    """How a delimited file is laid out.

    Attributes:
        user: name of the column, or its number from 1 on where there is no header.
        item: likewise.
        rating: likewise; None if there is none.
        time: likewise; None if there is none.
        delimiter: one character.
        quotes: ``double`` if a field in double quotes may hold the delimiter and line ends, ``none`` if a quote is a
            character like any other; None is ``none`` where the delimiter is a tab, else ``double``, but then lines
            that look like rows are no part of a field.
        has_header: whether the first line names the columns.
        time_unit: one of ``TIME_UNITS``; None tells it from the times.
    """

    user: str
    item: str
    rating: str | None = None
    time: str | None = None
    delimiter: str = ","
    quotes: str | None = None
    has_header: bool = True
    time_unit: str | None = None

    @property
    def columns(self) -> tuple[str | None, ...]:
        """User, item, rating and time."""
        return self.user, self.item, self.rating, self.time


def open_delimited(files: Files, how: Reading, layout: Layout) -> Source:
    """Open a delimited file.

    Raises:
        ConfigError: if a column is missing; on a bad line, unless they are skipped.
    """
    named = [column.lower() for column in layout.columns if column]
    if len(set(named)) < len(named):
        raise ConfigError(f"--user-col, --item-col, ...: expected different columns, got {', '.join(named)}")
    interactions = delimited_interactions(files.single("file"), how, layout)
    columns = ", ".join(filter(None, layout.columns))
    return Source(f"delimited file, columns {columns}", {WHOLE: interactions}, how)


def delimited_interactions(file: TextFile, how: Reading, layout: Layout) -> Iterator[Interaction]:
    """The interactions of a delimited file. Bad lines and errors as in ``parsed``."""
    rows = _rows(file, how, layout)
    number, first = next(rows, (1, []))
    if len(first) > 1 and all(str(field).startswith(" ") for field in first[1:]):
        how.notes["spaces at the delimiter"] = "left out"
        first, rows = _stripped(first), ((place, _stripped(fields)) for place, fields in rows)
    header = first if layout.has_header else None
    place = _by_name if layout.has_header else _by_number
    user, item, rating, time = (place(first, column, file) if column else None for column in layout.columns)
    clock = Clock(how, layout.time_unit if time is not None else None)

    def parse(fields: Any) -> Interaction:
        if len(fields) != len(first):
            raise BadLine(f"expected {len(first)} columns as in line {number}, found {len(fields)}")
        if fields == header:
            raise BadLine("expected data, found the header again")
        for column in (user, item):
            if not fields[column]:
                found = "an empty one" if fields[column] == "" else "quotes that are not as CSV has them"
                raise BadLine(f"expected a user and an item, found {found}")
            if fields[column] != fields[column].strip():
                how.notes["ids with spaces around them"] = int(how.notes.get("ids with spaces around them", 0)) + 1
        return Interaction(
            fields[user],
            fields[item],
            None if rating is None else number_in("rating", fields[rating]),
            None if time is None else clock.seconds(fields[time]),
        )

    if header is None and first:
        rows = _again(number, first, rows)
    return parsed(file, rows, parse, how)


def _rows(file: TextFile, how: Reading, layout: Layout) -> Iterator[tuple[int, list[Any]]]:
    if layout.quotes == "none" or (layout.quotes is None and layout.delimiter == "\t"):
        return split_rows(file, how, layout.delimiter)
    return csv_rows(file, how, layout.delimiter, are_quotes_sure=layout.quotes == "double")


def _stripped(fields: list[Any]) -> list[Any]:
    return [field.strip() if isinstance(field, str) else field for field in fields]


def _again(number: int, first: list[Any], rows: Iterator[tuple[int, list[Any]]]) -> Iterator[tuple[int, list[Any]]]:
    yield number, first
    yield from rows


def _by_name(header: list[str], name: str, file: TextFile) -> int:
    """Where the column is, by its very name or else in any case."""
    exact = [index for index, column in enumerate(header) if column == name]
    found = exact or [index for index, column in enumerate(header) if str(column).lower() == name.lower()]
    if not found:
        columns = ", ".join(map(str, header))
        hint = "; --no-header takes the number of a column" if name.isdecimal() else ""
        hint = "; --quotes=double" if f'"{name}"' in header else hint
        if len(header) == 1:
            told = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','"}
            hint = next((f"; --delimiter={word}" for mark, word in told.items() if mark in str(header[0])), hint)
        raise ConfigError(f"{file}, line 1: expected a column {name}, found {shown(columns)[1:-1] or 'nothing'}{hint}")
    if len(found) > 1:
        raise ConfigError(f"{file}, line 1: the column {name} is there {len(found)} times")
    return found[0]


def _by_number(first: list[str], number: str, file: TextFile) -> int:
    if not number.isdecimal() or not 1 <= int(number) <= len(first):
        raise ConfigError(
            f"{file}: without a header expected the number of a column, from 1 to {len(first)}, got {shown(number)}"
        )
    return int(number) - 1
