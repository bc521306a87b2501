"""What was read of a data set's atomic files: for RecBole's reader, and on disk for other processes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recbole_cfgdiff.compat import replaced
from recbole_cfgdiff.data.atomic_rows import Column, Texts
from recbole_cfgdiff.data.convert.tokens import MISSING
from recbole_cfgdiff.files import read_json, write_json

_INDEX = "index.json"


class Table(NamedTuple):
    """The columns of a file that are loaded.

    Attributes:
        suffix: what RecBole calls the file, as ``inter``.
        columns: by ``name:type``, in the order of the file.
    """

    suffix: str
    columns: dict[str, Column]

    def types(self) -> dict[str, str]:
        """Of each column."""
        return dict(field.split(":") for field in self.columns)


class AtomicData(NamedTuple):
    """The atomic files of a data set, read and checked.

    Attributes:
        reading: the options by which they were read, as text.
        hash: of the data set's files, as of ``hash_of_data``.
        tables: by the name of a file.
    """

    reading: str
    hash: str
    tables: dict[str, Table]

    def types(self) -> dict[str, dict[str, str]]:
        """By suffix, the type of each column; of the parts of a given split those of the first."""
        return {table.suffix: table.types() for table in reversed(list(self.tables.values()))}

    @contextmanager
    def in_place_of_files(self) -> Iterator[None]:
        """While a data set is made: RecBole's reader, which takes everything from ``pandas.read_csv`` but the header,
        gets the frames that it would read."""

        def read_csv(path: Any, usecols: list[str], **_: Any) -> pd.DataFrame:
            columns = self.tables[Path(path).name].columns
            return pd.DataFrame({field: _values(field, columns[field]) for field in columns if field in usecols})

        with replaced(pd, read_csv=read_csv):
            yield


def _values(field: str, column: Column) -> np.ndarray | pd.Series:
    if not isinstance(column, Texts):
        return column
    missing = "" if field.endswith("seq") else np.nan  # as RecBole means to fill it: see pandas_3.py
    words = np.array([missing if word in MISSING else word for word in column.words], dtype=object)
    return pd.Series(words[column.codes], dtype=object)  # pandas 3 would make it str


def save(data: AtomicData, folder: Path) -> None:
    """Write into a folder, which is made: arrays, and an index with their checksums.

    Raises:
        OSError: if it can't be written.
    """
    folder.mkdir()
    numbers, checksums = itertools.count(), {}

    def keep(array: np.ndarray) -> str:
        path = folder / f"{next(numbers)}.npy"
        np.save(path, array)
        checksums[path.name] = _checksum(path)
        return path.name

    tables = {
        name: [
            table.suffix,
            {field: [keep(array) for array in _arrays(table.columns[field])] for field in table.columns},
        ]
        for name, table in data.tables.items()
    }
    content = {"reading": data.reading, "hash": data.hash, "tables": tables, "checksums": checksums}
    write_json(folder / _INDEX, content)


def _arrays(column: Column) -> list[np.ndarray]:
    if not isinstance(column, Texts):
        return [column]
    encoded = [word.encode("utf-8", "surrogatepass") for word in column.words]
    ends = np.cumsum([0, *map(len, encoded)])
    return [column.codes, ends, np.frombuffer(b"".join(encoded), np.uint8)]


def load(folder: Path) -> AtomicData:
    """What ``save`` wrote, in memory as far as it is used.

    Raises:
        OSError: if it is not there.
        ValueError: if it is damaged; nothing in it is executed.
    """
    index = read_json(folder / _INDEX)
    try:
        arrays = {}
        for name, checksum in index["checksums"].items():
            if name != Path(name).name or _checksum(folder / name) != checksum:
                raise ValueError(f"{name}: not as it was written")
            arrays[name] = np.load(folder / name, mmap_mode="r", allow_pickle=False)
        tables = {
            name: Table(suffix, {field: _column(*(arrays[part] for part in parts)) for field, parts in columns.items()})
            for name, (suffix, columns) in index["tables"].items()
        }
        if not all(field.count(":") == 1 for table in tables.values() for field in table.columns):
            raise ValueError(f"{folder / _INDEX}: expected columns name:type")
        return AtomicData(index["reading"], index["hash"], tables)
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"{folder / _INDEX}: not as it was written") from error


def _column(first: np.ndarray, ends: np.ndarray | None = None, letters: np.ndarray | None = None) -> Column:
    if ends is None or letters is None:
        if first.dtype != float or first.ndim != 1:
            raise ValueError("expected a column of numbers")
        return first
    steps, n_words = np.diff(ends), len(ends) - 1
    is_sound = (first.dtype, letters.dtype, first.ndim, letters.ndim) == (np.int32, np.uint8, 1, 1)
    if not is_sound or ends[0] != 0 or ends[-1] != len(letters) or (steps < 0).any():
        raise ValueError("expected a column of text")
    if len(first) and not 0 <= first.min() <= first.max() < n_words:
        raise ValueError("expected a column of the texts there are")
    text = letters.tobytes()
    return Texts([text[a:b].decode("utf-8", "surrogatepass") for a, b in itertools.pairwise(ends.tolist())], first)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
