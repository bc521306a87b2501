"""Lists as they come, into a file in one piece: CSV, JSON lines or Parquet, by the name's ending."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from pandas.api.types import is_numeric_dtype

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.escape import marked
from recbole_cfgdiff.files import in_one_piece

_ROWS = 2**17  # of a group of a Parquet file, and in memory until then


def write_lists(tables: Iterable[pd.DataFrame], path: Path, title: str | None) -> None:
    """Write tables of the same columns, one after another.

    Args:
        tables: at least one; no more than a few are held.
        path: ends in ``.csv``, ``.jsonl`` or ``.parquet``; a file of that name is replaced when all is written.
        title: the column of titles, which a spreadsheet is not to take for formulas.

    Raises:
        ConfigError: on another ending.
        OSError: if it can't be written.
    """
    check_ending(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with in_one_piece(path) as unfinished:
        if path.suffix.lower() == ".parquet":
            _write_parquet(tables, unfinished)
            return
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            for place, table in enumerate(tables):
                if path.suffix.lower() == ".csv":
                    shown = table if title is None else table.assign(**{title: table[title].map(marked)})
                    shown.to_csv(file, index=False, header=place == 0)
                elif len(table):  # of none pandas makes an empty line
                    table.to_json(file, orient="records", lines=True, force_ascii=False)


def check_ending(path: Path) -> None:
    """Check that the name says a format.

    Raises:
        ConfigError: otherwise.
    """
    if path.suffix.lower() not in (".csv", ".jsonl", ".parquet"):
        raise ConfigError(f"output: expected a name that ends in .csv, .jsonl or .parquet, got {path}")


def _schema(table: pd.DataFrame) -> pa.Schema:
    """Of a table that may be empty, whose text has no type then."""
    fields = (
        (name, pa.from_numpy_dtype(column.dtype) if is_numeric_dtype(column) else pa.string())
        for name, column in table.items()
    )
    return pa.schema(list(fields))


def _write_parquet(tables: Iterable[pd.DataFrame], path: Path) -> None:
    writer, n_waiting, schema = None, 0, None
    waiting: list[pa.Table] = []

    def flush() -> None:
        nonlocal writer, n_waiting
        group = pa.concat_tables(waiting)
        writer = writer or pyarrow.parquet.ParquetWriter(path, group.schema)
        writer.write_table(group)
        waiting.clear()
        n_waiting = 0

    try:
        for table in tables:
            schema = schema or _schema(table)
            waiting.append(pa.Table.from_pandas(table, schema, preserve_index=False).replace_schema_metadata())
            n_waiting += len(table)
            if n_waiting >= _ROWS:
                flush()
        if waiting:
            flush()
    finally:
        if writer is not None:
            writer.close()
