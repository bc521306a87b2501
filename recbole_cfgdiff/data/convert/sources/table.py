"""A delimited file as a table: how it is laid out, its columns, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import shown
from recbole_cfgdiff.data.convert.sources.reading import BadLine, Reading, csv_rows, split_rows
from recbole_cfgdiff.errors import ConfigError


class Layout(NamedTuple):
    """How a delimited file is laid out, and the file of items that belongs to it.

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
        title: the column of titles, of the file of items if there is one; None if there is none.
        items: the file of items, laid out likewise; None if there is none.
        item_id: its column of ids; None is ``item``.
    """

    user: str
    item: str
    rating: str | None = None
    time: str | None = None
    delimiter: str = ","
    quotes: str | None = None
    has_header: bool = True
    time_unit: str | None = None
    title: str | None = None
    items: Path | None = None
    item_id: str | None = None

    @property
    def columns(self) -> tuple[str | None, ...]:
        """Those of the interactions: user, item, rating, time and, if it is there, the title."""
        return self.user, self.item, self.rating, self.time, None if self.items else self.title


class Table(NamedTuple):
    """The rows of a delimited file.

    Attributes:
        first: the first row, of data or the header.
        number: of its line.
        header: the first row if it names the columns, else None.
        rows: of data, each with the number of its last line; a field that depends on how stray quotes are read is None.
    """

    first: list[Any]
    number: int
    header: list[Any] | None
    rows: Iterator[tuple[int, list[Any]]]

    def check(self, fields: list[Any]) -> None:
        """Raises BadLine if a row is not of as many columns as the first, or is the header again."""
        if len(fields) != len(self.first):
            raise BadLine(f"expected {len(self.first)} columns as in line {self.number}, found {len(fields)}")
        if fields == self.header:
            raise BadLine("expected data, found the header again")


def open_table(file: TextFile, how: Reading, layout: Layout) -> Table:
    """Read the first row. Errors, of the rows too, as in ``csv_rows``."""
    rows = _rows(file, how, layout)
    number, first = next(rows, (1, []))
    if len(first) > 1 and all(str(field).startswith(" ") for field in first[1:]):
        how.notes["spaces at the delimiter"] = "left out"
        first, rows = _stripped(first), ((place, _stripped(fields)) for place, fields in rows)
    if layout.has_header:
        return Table(first, number, first, rows)
    return Table(first, number, None, _again(number, first, rows) if first else rows)


def column_of(table: Table, name: str, file: TextFile) -> int:
    """Where a column is, by its name, or by its number where there is no header.

    Raises:
        ConfigError: if there is none, or several of that name.
    """
    return _by_name(table.first, name, file) if table.header is not None else _by_number(table.first, name, file)


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
