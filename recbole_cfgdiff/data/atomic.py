"""Checks of RecBole's atomic files, made before RecBole reads them: it fills gaps in silence and names no line."""

from __future__ import annotations

import codecs
import math
from pathlib import Path
from typing import Any

from recbole.utils import FeatureType

from recbole_cfgdiff.errors import ConfigError, reported_as_config_error

_TYPES = {kind.value for kind in FeatureType}


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
        check_atomic_file(path, config, ids)
    for suffix, field in zip(("user", "item"), ids):
        path = folder / f"{name}.{suffix}"
        if path.is_file() and suffix in (config["load_col"] or {suffix}):
            check_atomic_file(path, config, [field])


def _check_reading_options(config: Any, ids: list[str]) -> None:
    separator, encoding, load_col = config["field_separator"], config["encoding"], config["load_col"]
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


def check_atomic_file(path: Path, config: Any, required: list[str]) -> None:
    """Check one file: the header's ``name:type`` fields, then every line's number of fields and numbers.

    Args:
        path: the file.
        config: for ``field_separator`` and ``encoding``.
        required: columns that must be there, and be filled.

    Raises:
        ConfigError: on the first line that is wrong.
    """
    separator = config["field_separator"]
    try:
        with path.open(encoding=config["encoding"] or "utf-8") as file:
            columns, numeric = _read_header(path, file.readline().rstrip("\n"), separator, required)
            filled = [columns.index(name) for name in required]
            for number, line in enumerate(file, start=2):
                fields = line.rstrip("\n").split(separator)
                if len(fields) != len(columns):
                    if not line.strip():
                        continue
                    raise _malformed(path, number, f"expected {len(columns)} fields, found {len(fields)}")
                for index in filled:
                    if not fields[index]:
                        raise _malformed(path, number, f"{columns[index]} is empty")
                for index in numeric:
                    if not _is_number(fields[index]):
                        raise _malformed(
                            path, number, f"expected a number for {columns[index]}, found {fields[index]!r}"
                        )
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not {config['encoding'] or 'utf-8'} text ({error.reason})") from error


def _read_header(path: Path, header: str, separator: str, required: list[str]) -> tuple[list[str], list[int]]:
    """Names of the columns, and the indices of those of type float."""
    columns, types = [], []
    for field in header.split(separator):
        name, _, kind = field.partition(":")
        if kind not in _TYPES:
            raise _malformed(path, 1, f"expected name:type with a type of {', '.join(sorted(_TYPES))}, found {field!r}")
        columns.append(name)
        types.append(kind)
    missing = [name for name in required if name not in columns]
    if missing:
        raise _malformed(path, 1, f"expected a column {missing[0]}:token, found {', '.join(columns)}")
    return columns, [index for index, kind in enumerate(types) if kind == FeatureType.FLOAT.value]


def _is_number(text: str) -> bool:
    """An empty field is a missing value, which RecBole fills."""
    try:
        return not text or math.isfinite(float(text))
    except ValueError:
        return False


def _malformed(path: Path, line: int, problem: str) -> ConfigError:
    return ConfigError(f"{path}, line {line}: {problem}")
