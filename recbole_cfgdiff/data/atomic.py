"""Checks of RecBole's atomic files, made before RecBole reads them: it fills gaps in silence and names no line."""

from __future__ import annotations

import codecs
import csv
import glob
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from recbole.utils import FeatureType

from recbole_cfgdiff.data.tokens import MISSING
from recbole_cfgdiff.errors import ConfigError, reported_as_config_error

_TYPES = {kind.value for kind in FeatureType}
_SUFFIXES = ("inter", "user", "item", "kg", "link", "net")


def check_atomic_files(config: Any) -> None:
    """Check the ``.inter`` files of the data set, and its ``.user`` and ``.item`` files where columns of them are
    loaded.

    Raises:
        ConfigError: if one is missing (which file is expected where) or malformed (file, line, what was expected).
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    parts = config["benchmark_filename"]
    inter_files = [folder / f"{name}.{part}.inter" for part in parts] if parts else [folder / f"{name}.inter"]
    ids = [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]]
    _check_reading_options(config, ids)
    for path in inter_files:
        if not path.is_file():
            raise ConfigError(f"data set {name}: expected the file {path}, which does not exist")
        check_atomic_file(path, config, "inter", ids)
    for suffix, field in zip(("user", "item"), ids):
        path = folder / f"{name}.{suffix}"
        if path.is_file() and suffix in (config["load_col"] or {suffix}):
            check_atomic_file(path, config, suffix, [field])


def hash_of_data(config: Any) -> str:
    """Of the names and the contents of the data set's atomic files, those that are not loaded included."""
    folder, name = Path(config["data_path"]), config["dataset"]
    content = hashlib.sha256()
    for path in sorted(folder.glob(f"{glob.escape(name)}.*")):
        if path.is_file() and path.suffix[1:] in _SUFFIXES:
            content.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    content.update(block)
    return content.hexdigest()[:12]


def _check_reading_options(config: Any, ids: list[str]) -> None:
    separator, encoding, load_col = config["field_separator"], config["encoding"], config["load_col"]
    if config["unload_col"] and not isinstance(config["unload_col"], dict):
        raise ConfigError(f"unload_col: expected such as {{'inter': ['rating']}}, got {config['unload_col']!r}")
    if encoding is not None and not isinstance(encoding, str):
        raise ConfigError(f"encoding: expected the name of an encoding, such as utf-8, got {encoding!r}")
    if not isinstance(separator, str) or not separator:
        raise ConfigError(f"field_separator: expected one or more characters, got {separator!r}")
    if encoding is not None:
        with reported_as_config_error("encoding"):
            codecs.lookup(encoding)
    loaded = load_col.get("inter", []) if isinstance(load_col, dict) else ids if load_col is None else []
    if loaded != "*" and not (isinstance(loaded, list) and set(ids) <= set(loaded)):
        raise ConfigError(
            f"load_col: expected columns {', '.join(ids)} of inter among what is loaded, got {load_col!r}"
        )


def check_atomic_file(path: Path, config: Any, suffix: str, ids: list[str]) -> None:
    """Check one file as RecBole would read it: the header's ``name:type`` fields, then each line's number of fields,
    its ids, and the numbers of the columns that are loaded. An empty field is a missing value, which RecBole fills;
    but for ids, and for times, by which rows are ordered.

    Args:
        path: the file.
        config: for ``field_separator``, ``encoding``, ``load_col`` and ``TIME_FIELD``.
        suffix: ``inter``, ``user`` or ``item``.
        ids: columns of ids that must be there.

    Raises:
        ConfigError: on the first line that is wrong, or if a column of ids is not loaded.
    """
    encoding = config["encoding"] or "utf-8"
    try:
        with path.open(encoding=encoding, newline="") as file:
            rows = _rows(file, config["field_separator"])
            columns, types = _read_header(path, next(rows, (1, []))[1], ids)
            loaded = _loaded(config, suffix, columns)
            filled = [columns.index(name) for name in ids]
            if not set(filled) <= set(loaded):
                raise ConfigError(f"load_col, unload_col: expected {', '.join(ids)} of {path} among what is loaded")
            numeric = [index for index in loaded if types[index] == FeatureType.FLOAT.value]
            time = next((index for index in numeric if columns[index] == config["TIME_FIELD"]), None)
            for number, fields in rows:
                if not any(fields):
                    continue
                if len(fields) > len(columns) or len(fields) <= max(loaded):
                    raise _malformed(path, number, f"expected {len(columns)} fields, found {len(fields)}")
                for index in filled:
                    if fields[index] in MISSING:
                        found = f"{fields[index]!r}, which RecBole takes for none" if fields[index] else "nothing"
                        raise _malformed(path, number, f"expected an id for {columns[index]}, found {found}")
                for index in numeric:
                    if not _is_number(fields[index]) or (index == time and fields[index] in MISSING):
                        expected = f"expected a number for {columns[index]}, found {fields[index]!r}"
                        raise _malformed(path, number, expected)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not {encoding} text ({error.reason})") from error
    except csv.Error as error:
        raise ConfigError(f"{path}: {error}") from error


def _rows(file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields, quoted fields as pandas reads them; it knows no quotes for longer separators."""
    if len(separator) > 1:
        for number, line in enumerate(file, start=1):
            yield number, line.rstrip("\r\n").split(separator)
        return
    reader = csv.reader(file, delimiter=separator)
    for fields in reader:
        yield reader.line_num, fields


def _loaded(config: Any, suffix: str, columns: list[str]) -> list[int]:
    """Indices of the columns that RecBole loads."""
    load, unload = (config[key] or {} for key in ("load_col", "unload_col"))
    wanted = load.get(suffix, columns) if load else columns
    chosen = columns if wanted == "*" else wanted
    return [index for index, name in enumerate(columns) if name in chosen and name not in unload.get(suffix, [])]


def _read_header(path: Path, header: list[str], ids: list[str]) -> tuple[list[str], list[str]]:
    """Names and types of the columns."""
    columns, types = [], []
    for field in header:
        name, _, kind = field.partition(":")
        if kind not in _TYPES or name.startswith("\ufeff"):
            mark = " after a byte order mark (encoding: utf-8-sig reads it)" if name.startswith("\ufeff") else ""
            expected = f"expected name:type with a type of {', '.join(sorted(_TYPES))}"
            raise _malformed(path, 1, f"{expected}, found {field.lstrip(chr(0xFEFF))!r}{mark}")
        columns.append(name)
        types.append(kind)
    missing = [name for name in ids if name not in columns]
    if missing:
        raise _malformed(path, 1, f"expected a column {missing[0]}:token, found {', '.join(columns) or 'nothing'}")
    return columns, types


def _is_number(text: str) -> bool:
    try:
        return text in MISSING or math.isfinite(float(text))
    except ValueError:
        return False


def _malformed(path: Path, line: int, problem: str) -> ConfigError:
    return ConfigError(f"{path}, line {line}: {problem}")
