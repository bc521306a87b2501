"""One of RecBole's atomic files, read and checked: its header, which columns of it are loaded, and its rows."""

from __future__ import annotations

import codecs
import io
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from recbole.utils import FeatureType

from recbole_cfgdiff.data.atomic_data import Table
from recbole_cfgdiff.data.atomic_rows import (
    SEPARATORS,
    Column,
    Layout,
    NumberColumn,
    TextColumn,
    add_rows,
    cut,
    header_line,
    malformed,
    problem_of_id,
    problem_of_numbers,
)
from recbole_cfgdiff.errors import ConfigError

_TYPES = {kind.value for kind in FeatureType}


class AtomicFile(NamedTuple):
    """What a file is to have.

    Attributes:
        path: where it is.
        suffix: what RecBole calls it, as ``inter``.
        ids: columns of ids that must be there, of type token, with an id in each line.
        is_unique: whether RecBole keeps only the first line of an id.
        is_part: whether RecBole filters none of its lines.
    """

    path: Path
    suffix: str
    ids: list[str]
    is_unique: bool = False
    is_part: bool = False


def read_file(wanted: AtomicFile, config: Any, content: Any) -> Table:
    """Read and check a file as RecBole would read it: the header's ``name:type`` fields, then each line's number of
    fields, its ids, and the numbers of the columns that are loaded. An empty field is a missing value, which RecBole
    fills; but for ids, for times, by which rows are ordered, and for labels.

    Args:
        wanted: the file.
        config: for ``field_separator``, ``encoding``, ``load_col`` and the names of columns.
        content: a hash, which gets the file's bytes.

    Raises:
        ConfigError: on the first line that is wrong, or if a column of ids is not loaded.
    """
    path, encoding = wanted.path, config["encoding"] or "utf-8"
    try:
        with _Hashed(path, content) as raw, io.TextIOWrapper(io.BufferedReader(raw), encoding, newline="") as file:
            types = _read_header(wanted, header_line(file, path), config["field_separator"])
            loaded = _loaded(config, wanted.suffix, path, list(types))
            _check_loaded(wanted, config, loaded)
            layout = _layout(wanted, config, types, loaded)
            n_rows = add_rows(file, layout)
    except UnicodeError as error:
        line, reason = _undecodable_line(path, encoding), getattr(error, "reason", error)
        raise malformed(path, line, f"not {encoding} text ({reason}); give --encoding=NAME") from error
    _check_rows(wanted, layout, n_rows)
    columns = {f"{name}:{types[name]}": layout.columns[list(types).index(name)].column() for name in loaded}
    _check_there_are_numbers(path, columns)
    return Table(wanted.suffix, columns)


class _Hashed(io.FileIO):
    """A file whose bytes go into a hash as they are read."""

    def __init__(self, path: Path, content: Any) -> None:
        super().__init__(path)
        self._content = content

    def readinto(self, buffer: Any) -> int | None:
        n_read = super().readinto(buffer)
        self._content.update(memoryview(buffer)[:n_read])
        return n_read


def _check_loaded(wanted: AtomicFile, config: Any, loaded: list[str]) -> None:
    if not set(wanted.ids) <= set(loaded):
        raise ConfigError(
            f"load_col, unload_col: expected {', '.join(wanted.ids)} of {wanted.path} among what is loaded"
        )
    if wanted.suffix in (config["unload_col"] or {}) and wanted.suffix in (config["load_col"] or {}):
        raise ConfigError(f"unload_col: load_col says what is loaded of {wanted.path}; give --load_col=None with it")


def _layout(wanted: AtomicFile, config: Any, types: dict[str, str], loaded: list[str]) -> Layout:
    needed = {config["TIME_FIELD"]} if wanted.suffix == "inter" else set()
    if wanted.suffix == "inter" and is_labeled(config):
        needed.add(config["LABEL_FIELD"])

    def column(name: str) -> TextColumn | NumberColumn:
        if types[name] == FeatureType.FLOAT.value:
            return NumberColumn(name, name in needed)
        if types[name] == FeatureType.FLOAT_SEQ.value:
            return TextColumn(partial(problem_of_numbers, name, config["seq_separator"]))
        return TextColumn(partial(problem_of_id, name) if name in wanted.ids else None)

    names = list(types)
    columns = {names.index(name): column(name) for name in loaded}
    return Layout(wanted.path, config["field_separator"], names, columns, wanted.is_part)


def _check_rows(wanted: AtomicFile, layout: Layout, n_rows: int) -> None:
    """Check, after the last line, how many there were."""
    if not n_rows:
        raise ConfigError(f"{wanted.path}: expected rows below the header, found none")
    if not wanted.is_unique:
        return
    name = wanted.ids[0]
    ids = layout.columns[layout.names.index(name)]
    repeated = n_rows - ids.n_words if isinstance(ids, TextColumn) else 0
    if repeated:
        getLogger().info(f"{repeated:,} of {n_rows:,} rows of {wanted.path} left out: their {name} stands above them")


def _check_there_are_numbers(path: Path, columns: dict[str, Column]) -> None:
    for field, column in columns.items():
        if isinstance(column, np.ndarray) and np.isnan(column).all():
            name = field.partition(":")[0]
            raise ConfigError(f"{path}: expected a number for {name} in some line, found none")


def _undecodable_line(path: Path, encoding: str) -> int:
    decoder = codecs.getincrementaldecoder(encoding)()
    number = 1
    with path.open("rb") as file:
        for line in file:
            try:
                number += decoder.decode(line).count("\n")
            except UnicodeError:
                break
    return number


def _loaded(config: Any, suffix: str, path: Path, columns: list[str]) -> list[str]:
    """Names of the columns that RecBole loads, in the order of the file."""
    load, unload = (config[key] or {} for key in ("load_col", "unload_col"))
    wanted = load.get(suffix, []) if load else columns
    chosen = columns if wanted == "*" else wanted
    for option, names in (("load_col", chosen), ("unload_col", unload.get(suffix, []))):
        absent = [name for name in names if name not in columns] if is_given(config, option) else []
        if absent:
            raise ConfigError(f"{option}: {suffix}: {path} has no column {absent[0]!r}; there are {', '.join(columns)}")
    return [name for name in columns if name in chosen and name not in unload.get(suffix, [])]


def is_given(config: Any, option: str) -> bool:
    """Whether the user gave an option another value than its default."""
    given = config.external_config_dict
    return option in given and given[option] != config.internal_config_dict.get(option)


def is_labeled(config: Any) -> bool:
    """Whether labels are evaluated, in place of rankings."""
    return "labeled" in config["eval_args"]["mode"].values()


def _read_header(wanted: AtomicFile, line: str, separator: str) -> dict[str, str]:
    """Types of the columns by name."""
    if not line:
        raise ConfigError(f"{wanted.path}: expected a header of name:type fields, the file is empty")
    types: dict[str, str] = {}
    for field in line.rstrip("\r\n").split(separator):
        name, _, kind = field.partition(":")
        if kind not in _TYPES or name.startswith(("\ufeff", '"')) or not name:
            expected = f"expected name:type with a type of {', '.join(sorted(_TYPES))}"
            found = cut(field.lstrip("\ufeff"))
            raise malformed(wanted.path, 1, f"{expected}, found {found}{_reading_hint(line, separator)}")
        if name in types:
            raise malformed(wanted.path, 1, f"the column {name} stands twice; rename or remove one")
        types[name] = kind
    for name in wanted.ids:
        if name not in types:
            found = f"expected a column {name}:token, found {', '.join(types) or 'nothing'}"
            raise malformed(wanted.path, 1, f"{found}{_reading_hint(line, separator)}")
        if types[name] != FeatureType.TOKEN.value:
            raise malformed(wanted.path, 1, f"expected {name}:token, as ids are, found {name}:{types[name]}")
    return types


def _reading_hint(line: str, separator: str) -> str:
    """The option by which a header would be one."""
    mark = " after a byte order mark (encoding: utf-8-sig reads it)" if line.startswith("\ufeff") else ""
    for other, name in SEPARATORS.items():
        fields = line.strip("\ufeff\r\n").split(other)
        if other != separator and len(fields) > 1 and all(field.partition(":")[2] in _TYPES for field in fields):
            option = "leave field_separator out" if other == "\t" else f"give --field_separator='{other}'"
            return f"{mark}; the fields are separated by {name}: {option}"
    return mark
