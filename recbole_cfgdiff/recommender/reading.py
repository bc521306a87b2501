"""Lists of ids, and histories of people whom the model need not know, from files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender.tables import read_parquet

_MOST_BYTES = 2**32
_TIMES = ("time", "timestamp", "date")


class Given(NamedTuple):
    """Histories from a file.

    Attributes:
        labels: who they are of, in the order in which they first come, objects of shape ``(N,)``.
        histories: ids of each one's items, the earliest first.
    """

    labels: np.ndarray
    histories: list[list[str]]


def read_ids(path: Path, what: str) -> list[str]:
    """Ids from a file: a line each, or the column ``what`` or ``what_id`` of a ``.csv`` or ``.parquet``.

    Args:
        path: of the file; blank lines are passed over.
        what: ``user`` or ``item``.

    Raises:
        ConfigError: if it can't be read, or has no ids.
    """
    if path.suffix.lower() in _READERS:
        table = _read(path)
        ids = _column(table, path, what).tolist()
    else:
        ids = [line.strip() for line in _text(path).splitlines() if line.strip()]
    if not ids:
        raise ConfigError(f"{path}: expected {what}s, found none")
    return ids


def read_histories(path: Path) -> Given:
    """Histories from a ``.csv`` or ``.parquet`` with the columns ``user`` and ``item`` (or ``user_id`` and
    ``item_id``), and where there is one of ``time``, ``timestamp`` or ``date``, in its order; otherwise in the file's.

    Raises:
        ConfigError: if it can't be read, or if a user, an item or a time is missing.
    """
    if path.suffix.lower() not in _READERS:
        raise ConfigError(f"histories: expected a file that ends in {' or '.join(_READERS)}, got {path}")
    table = _read(path)
    rows = pd.DataFrame({what: _column(table, path, what) for what in ("user", "item")})
    if time := next((name for name in _TIMES if name in table), None):
        rows = rows.iloc[np.argsort(_times(table[time], path), kind="stable")]
    if not len(rows):
        raise ConfigError(f"{path}: expected rows, found none")
    by_user = rows.groupby("user", sort=False)["item"].agg(list).reindex(_column(table, path, "user").unique())
    return Given(by_user.index.to_numpy(dtype=object), by_user.tolist())


def _column(table: pd.DataFrame, path: Path, what: str) -> pd.Series:
    name = next((name for name in (what, f"{what}_id") if name in table), None)
    if name is None:
        raise ConfigError(f"{path}: expected a column {what} or {what}_id, found {', '.join(map(str, table.columns))}")
    values = table[name]
    is_missing = values.isna() | (values.astype(str) == "")
    if is_missing.any():
        raise ConfigError(f"{path}: row {int(np.argmax(is_missing)) + 1} below the header has no {name}")
    return values.astype(str)


def _times(values: pd.Series, path: Path) -> np.ndarray:
    """Numbers, or dates as ISO 8601 has them."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all():
        return numbers.to_numpy()
    dates = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    if dates.isna().any():
        row = int(np.argmax(dates.isna()))
        raise ConfigError(
            f"{path}: row {row + 1} below the header: expected a number or a date such as 2024-05-31 for "
            f"{values.name}, found {str(values.iloc[row])[:50]!r}"
        )
    return dates.astype("int64").to_numpy()


def _read(path: Path) -> pd.DataFrame:
    _check_size(path)
    return _READERS[path.suffix.lower()](path)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError) as error:
        raise ConfigError(f"{path}: no CSV file in UTF-8: {' '.join(str(error).split())}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the fields too many for labels of the rows
        raise ConfigError(f"{path}: the rows have more fields than the header, {', '.join(table.columns)}")
    return table


_READERS = {".csv": _read_csv, ".parquet": lambda path: read_parquet(path, None)}


def _text(path: Path) -> str:
    _check_size(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeError as error:
        raise ConfigError(f"{path}: no text in UTF-8: {error}") from error


def _check_size(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    if path.stat().st_size > _MOST_BYTES:
        raise ConfigError(f"{path}: expected at most {_MOST_BYTES:,} bytes")
