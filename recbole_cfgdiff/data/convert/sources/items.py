"""What a delimited file says of items: a file of items, or a column of titles among the interactions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import Features
from recbole_cfgdiff.data.convert.sources.reading import BadLine, Reading, parsed
from recbole_cfgdiff.data.convert.sources.table import Layout, Table, column_of, open_table
from recbole_cfgdiff.errors import ConfigError

TITLE = "title"
# Of a column of the same name RecBole would take one file's for the other's.
_OF_INTERACTIONS = ("user_id", "item_id", "rating", "timestamp")
# As numbers are written that are no codes: 007 is one.
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def item_features(file: TextFile, how: Reading, layout: Layout) -> Features:
    """A file of items, read twice: the types of its columns are told from all of their values.

    The title is ``layout.title``, or else a column of that name; others become float if they have numbers only, else
    token.

    Raises:
        ConfigError: if a column is missing, or two have one name; on a bad line, unless they are skipped.
    """
    table = open_table(file, how.again(), layout)
    if None in table.first:
        raise ConfigError(f"{file}, line {table.number}: expected quotes as CSV has them")
    item = column_of(table, layout.item_id or layout.item, file)
    title = _title_of(table, layout, file)
    others = [place for place in range(len(table.first)) if place not in (item, title)]
    kinds = _kinds(_items(file, table, item, how.again()), others)
    columns = {_name_of(table, place): kinds[place] for place in others}
    if len({*columns, TITLE, "item_id"}) < len(others) + 2:
        raise ConfigError(
            f"{file}, line 1: two of the columns {', '.join(table.first)} would have one name; rename one"
        )
    head = [*_head(title is not None), *(f"{name}:{kind}" for name, kind in columns.items())]
    how.notes["columns"] = ", ".join(head)

    def rows() -> Iterator[list[Any]]:
        for row in _items(file, open_table(file, how, layout), item, how):
            titles = [_words(row[title])] if title is not None else []
            values = (row[place].strip() if kinds[place] == "float" else row[place] for place in others)
            yield [row[item], *titles, *values]

    return Features(head, rows(), how)


def _kinds(rows: Iterable[list[str]], places: Sequence[int]) -> dict[int, str]:
    """By place, float for columns of numbers; where all are missing there is none."""
    found: dict[int, str] = {}
    for row in rows:
        for place in places:
            if text := row[place].strip():
                found[place] = "float" if found.get(place) != "token" and _is_number(text) else "token"
    return {place: found.get(place, "token") for place in places}


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))


class Titles:
    """The titles that items have among the interactions; of several the first counts."""

    def __init__(self) -> None:
        self._by_item: dict[str, str] = {}
        self._of_several: set[str] = set()

    def note(self, item: str, title: str | None) -> None:
        """That of a row; None is one that stray quotes leave open."""
        before = self._by_item.get(item)
        if title and before and title != before:
            self._of_several.add(item)
        self._by_item[item] = before or title or ""

    def features(self, how: Reading) -> Features:
        """What was noted by the time that its rows are asked for."""
        return Features(_head(has_title=True), self._rows(how), how)

    def _rows(self, how: Reading) -> Iterator[list[Any]]:
        how.notes |= {"of several titles, the first taken": len(self._of_several)}
        how.notes |= {"without a title": sum(not title for title in self._by_item.values())}
        for item, title in self._by_item.items():
            yield [item, _words(title)]


def _head(has_title: bool) -> list[str]:
    return ["item_id:token", *([f"{TITLE}:token_seq"] if has_title else [])]


def _words(title: str) -> list[str]:
    return title.split(" ")


def _title_of(table: Table, layout: Layout, file: TextFile) -> int | None:
    if layout.title:
        return column_of(table, layout.title, file)
    named = [place for place, name in enumerate(table.header or []) if name.strip().lower() == TITLE]
    return named[0] if len(named) == 1 else None


def _items(file: TextFile, table: Table, item: int, how: Reading) -> Iterator[list[str]]:
    def parse(fields: list[Any]) -> list[str]:
        table.check(fields)
        if None in fields:
            raise BadLine("expected quotes as CSV has them")
        if not fields[item]:
            raise BadLine("expected the id of an item, found an empty one")
        return fields

    return parsed(file, table.rows, parse, how)


def _name_of(table: Table, place: int) -> str:
    """The name of a column as atomic files may have it."""
    name = re.sub(r"\W+", "_", table.header[place].strip()).strip("_") if table.header else ""
    name = name or f"column_{place + 1}"
    return f"item_{name}" if name.lower() in _OF_INTERACTIONS else name
