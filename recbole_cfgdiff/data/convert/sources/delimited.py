"""Any delimited file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import WHOLE, Clock, Interaction, Source, number_in
from recbole_cfgdiff.data.convert.sources.input_files import Files, find_files
from recbole_cfgdiff.data.convert.sources.items import Titles, item_features
from recbole_cfgdiff.data.convert.sources.reading import BadLine, Reading, parsed
from recbole_cfgdiff.data.convert.sources.table import Layout, column_of, open_table
from recbole_cfgdiff.errors import ConfigError


def open_delimited(files: Files, how: Reading, layout: Layout) -> Source:
    """Open a delimited file, and the file of items that belongs to it.

    Raises:
        ConfigError: if a column is missing; on a bad line, unless they are skipped.
    """
    named = [column.lower() for column in layout.columns if column]
    if len(set(named)) < len(named):
        raise ConfigError(f"--user-col, --item-col, ...: expected different columns, got {', '.join(named)}")
    items, titles = None, None
    if layout.items:
        items = item_features(find_files(layout.items).single("file of items"), how.again(), layout)
    elif layout.title:
        titles = Titles()
        items = titles.features(how.again())
    interactions = delimited_interactions(files.single("file"), how, layout, titles)
    columns = ", ".join(filter(None, layout.columns))
    return Source(f"delimited file, columns {columns}", {WHOLE: interactions}, how, items)


def delimited_interactions(
    file: TextFile, how: Reading, layout: Layout, titles: Titles | None = None
) -> Iterator[Interaction]:
    """The interactions of a delimited file. Bad lines and errors as in ``parsed``.

    Args:
        file: what to read.
        how: how.
        layout: its columns.
        titles: takes them up, where they are among the interactions.
    """
    table = open_table(file, how, layout)
    user, item, rating, time, title = (column_of(table, name, file) if name else None for name in layout.columns)
    clock = Clock(how, layout.time_unit if time is not None else None)

    def parse(fields: Any) -> Interaction:
        table.check(fields)
        for column in (user, item):
            if not fields[column]:
                found = "an empty one" if fields[column] == "" else "quotes that are not as CSV has them"
                raise BadLine(f"expected a user and an item, found {found}")
            if fields[column] != fields[column].strip():
                how.notes["ids with spaces around them"] = int(how.notes.get("ids with spaces around them", 0)) + 1
        interaction = Interaction(
            fields[user],
            fields[item],
            None if rating is None else number_in("rating", fields[rating]),
            None if time is None else clock.seconds(fields[time]),
        )
        if titles is not None and title is not None:
            titles.note(interaction.item, fields[title])
        return interaction

    return parsed(file, table.rows, parse, how)
