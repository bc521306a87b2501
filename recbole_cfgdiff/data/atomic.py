"""Checks of RecBole's atomic files, made before RecBole reads them: it fills gaps in silence and names no line."""

from __future__ import annotations

import codecs
import csv
import glob
import hashlib
import io
import re
from collections.abc import Iterator
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import recbole.data.dataset
from recbole.data.dataset import KnowledgeBasedDataset
from recbole.utils import FeatureType, ModelType

from recbole_cfgdiff.data.convert.tokens import MISSING
from recbole_cfgdiff.errors import ConfigError

_TYPES = {kind.value for kind in FeatureType}
_SUFFIXES = ("inter", "user", "item", "kg", "link", "net")

_LONGEST_LINE = 1 << 24
_LONGEST_ID = 1000  # RecBole holds ids in an array in which each has the room of the longest
_LARGEST = float(np.finfo(np.float32).max)  # RecBole's numbers

_SEPARATORS = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar", " ": "a space", "::": "'::'"}


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


def check_atomic_files(config: Any) -> dict[str, dict[str, str]]:
    """Check the atomic files that RecBole will load columns of.

    Returns:
        by suffix, the type of each column that is loaded.

    Raises:
        ConfigError: if one is missing (which file is expected where) or malformed (file, line, what was expected); if
            a column that ``load_col`` or ``unload_col`` names does not exist, or stands in two files.
    """
    _check_reading_options(config)
    columns: dict[str, dict[str, str]] = {}
    for file in _files(config):
        loaded = check_atomic_file(file, config)
        if columns.setdefault(file.suffix, loaded) != loaded:
            raise ConfigError(f"{file.path}: expected columns {_header(columns[file.suffix])}, found {_header(loaded)}")
    _check_places(config, columns)
    return columns


def _header(columns: dict[str, str]) -> str:
    return ", ".join(f"{name}:{kind}" for name, kind in columns.items())


def _files(config: Any) -> Iterator[AtomicFile]:
    folder, name = Path(config["data_path"]), config["dataset"]
    user, item, entity = (config[f"{kind}_ID_FIELD"] for kind in ("USER", "ITEM", "ENTITY"))
    parts = config["benchmark_filename"]
    expected = [
        AtomicFile(folder / f"{name}.{part}inter", "inter", [user, item], is_part=parts is not None)
        for part in ([f"{part}." for part in parts] if parts else [""])
    ]
    if _loads_knowledge(config):
        triple = [config[f"{kind}_ID_FIELD"] for kind in ("HEAD_ENTITY", "RELATION", "TAIL_ENTITY")]
        expected.append(AtomicFile(folder / f"{name}.kg", "kg", triple))
        expected.append(AtomicFile(folder / f"{name}.link", "link", [item, entity]))
    load_col = config["load_col"]
    features = {"user": [user], "item": [item]}
    for suffix, ids in features.items():
        path = folder / f"{name}.{suffix}"
        if path.is_file() and suffix in (load_col or features):
            expected.append(AtomicFile(path, suffix, ids, is_unique=True))
    for suffix in config["additional_feat_suffix"] or ():
        if not str(suffix).isidentifier() or suffix in [file.suffix for file in expected]:
            raise ConfigError(f"additional_feat_suffix: expected the suffix of a file of its own, got {suffix!r}")
        expected.append(AtomicFile(folder / f"{name}.{suffix}", suffix, []))
    for file in expected:
        if not file.path.is_file():
            raise ConfigError(f"data set {name}: expected the file {file.path}, which does not exist")
        yield file


def _loads_knowledge(config: Any) -> bool:
    own = getattr(recbole.data.dataset, f"{config['model']}Dataset", object)
    return config["MODEL_TYPE"] is ModelType.KNOWLEDGE or issubclass(own, KnowledgeBasedDataset)


def _check_places(config: Any, columns: dict[str, dict[str, str]]) -> None:
    """That no column but ids stands in two files: RecBole would take it for the latter's."""
    ids = {config["USER_ID_FIELD"], config["ITEM_ID_FIELD"], config["ENTITY_ID_FIELD"]}
    places: dict[str, str] = {}
    for suffix, loaded in columns.items():
        for name in loaded:
            if places.setdefault(name, suffix) != suffix and name not in ids:
                raise ConfigError(
                    f"data set {config['dataset']}: the column {name} is loaded from .{places[name]} and from "
                    f".{suffix}, and RecBole would use but one; leave one out (load_col)"
                )


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


def _check_reading_options(config: Any) -> None:
    separator, encoding, load_col = config["field_separator"], config["encoding"], config["load_col"]
    ids = [config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]]
    if ids[0] == ids[1]:
        raise ConfigError(f"USER_ID_FIELD, ITEM_ID_FIELD: expected two columns, got {ids[0]!r} for both")
    if len(separator) > 1 and re.escape(separator) != separator:
        # pandas takes it for a regular expression, of which some never end, and RecBole takes it as it is.
        raise ConfigError(
            f"field_separator: expected one character, or several without any of .^$*+?{{}}[]\\|()-&#~ and spaces, got "
            f"{separator!r}"
        )
    if set(separator) & set('"\r\n\0'):
        raise ConfigError(f"field_separator: expected neither a quote nor a line break, got {separator!r}")
    if encoding is not None:
        try:
            io.TextIOWrapper(io.BytesIO(), encoding)  # which also refuses what is no encoding of text
        except (LookupError, ValueError) as error:
            raise ConfigError(f"encoding: {error}") from error
    loaded = load_col.get("inter", []) if isinstance(load_col, dict) else ids if load_col is None else []
    if loaded != "*" and not (isinstance(loaded, list) and set(ids) <= set(loaded)):
        raise ConfigError(
            f"load_col: expected columns {', '.join(ids)} of inter among what is loaded, got {load_col!r}"
        )
    _check_suffixes(config)


def _check_suffixes(config: Any) -> None:
    """That there is a file for each suffix of a ``load_col`` and an ``unload_col`` that were given."""
    folder, name = Path(config["data_path"]), config["dataset"]
    for option in ("load_col", "unload_col"):
        for suffix in (config[option] or {}) if _is_given(config, option) else ():
            if suffix != "inter" and not (folder / f"{name}.{suffix}").is_file():
                raise ConfigError(f"{option}: {suffix}: there is no file {folder / f'{name}.{suffix}'}")


def _is_given(config: Any, option: str) -> bool:
    given = config.external_config_dict
    return option in given and given[option] != config.internal_config_dict.get(option)


def check_atomic_file(wanted: AtomicFile, config: Any) -> dict[str, str]:
    """Check one file as RecBole would read it: the header's ``name:type`` fields, then each line's number of fields,
    its ids, and the numbers of the columns that are loaded. An empty field is a missing value, which RecBole fills;
    but for ids, for times, by which rows are ordered, and for labels.

    Args:
        wanted: the file.
        config: for ``field_separator``, ``encoding``, ``load_col`` and the names of columns.

    Returns:
        types of the columns that are loaded.

    Raises:
        ConfigError: on the first line that is wrong, or if a column of ids is not loaded.
    """
    path, encoding = wanted.path, config["encoding"] or "utf-8"
    try:
        with path.open(encoding=encoding, newline="") as file:
            lines = _lines(file, path)
            types = _read_header(wanted, next(lines, ""), config["field_separator"])
            loaded = _loaded(config, wanted.suffix, path, list(types))
            if not set(wanted.ids) <= set(loaded):
                raise ConfigError(
                    f"load_col, unload_col: expected {', '.join(wanted.ids)} of {path} among what is loaded"
                )
            if wanted.suffix in (config["unload_col"] or {}) and wanted.suffix in (config["load_col"] or {}):
                raise ConfigError(f"unload_col: load_col says what is loaded of {path}; give --load_col=None with it")
            check = _LineCheck(wanted, config, types, loaded)
            for number, fields in _rows(lines, path, config["field_separator"]):
                check.check(number, fields)
    except UnicodeError as error:
        line, reason = _undecodable_line(path, encoding), getattr(error, "reason", error)
        raise _malformed(path, line, f"not {encoding} text ({reason}); give --encoding=NAME") from error
    check.finish()
    return {name: types[name] for name in loaded}


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise _malformed(path, number, f"expected a line of at most {_LONGEST_LINE:,} characters, found more")
        if "\0" in line:
            raise _malformed(path, number, "found a NUL byte: the file is damaged, or in another encoding (encoding)")
        yield line


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


def _rows(lines: Iterator[str], path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers, from 2 on, and fields, quoted fields as pandas reads them; it knows no quotes for longer
    separators."""
    if len(separator) > 1:
        for number, line in enumerate(lines, start=2):
            yield number, line.rstrip("\r\n").split(separator)
        return
    csv.field_size_limit(_LONGEST_LINE)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    number = 2
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _malformed(path, number, _bad_quote(str(error))) from error
        if fields is None:
            return
        if reader.line_num + 1 != number:
            raise _malformed(path, number, _bad_quote(f"the field goes on to line {reader.line_num + 1}"))
        yield number, fields
        number += 1


def _bad_quote(problem: str) -> str:
    if "limit" in problem:
        return f"{problem}, characters"
    return (
        'expected fields without quotes, or quoted as "a ""b"" c" on one line, found a quote at the start of a field '
        f"that does not end so ({problem}); `convert csv` writes a file without"
    )


class _LineCheck:
    """The check of each line of a file, given its header."""

    def __init__(self, wanted: AtomicFile, config: Any, types: dict[str, str], loaded: list[str]) -> None:
        self._wanted = wanted
        self._columns = columns = list(types)
        self._separator = config["field_separator"]
        self._last = max(columns.index(name) for name in loaded) if loaded else 0
        self._ids = [columns.index(name) for name in wanted.ids]
        self._numbers = [columns.index(name) for name in loaded if types[name] == FeatureType.FLOAT.value]
        self._sequences = [columns.index(name) for name in loaded if types[name] == FeatureType.FLOAT_SEQ.value]
        needed = [config["TIME_FIELD"]]
        if "labeled" in config["eval_args"]["mode"].values():
            needed.append(config["LABEL_FIELD"])
        self._needed = (
            [index for index in self._numbers if columns[index] in needed] if wanted.suffix == "inter" else []
        )
        self._within = config["seq_separator"]
        self._with_number: set[int] = set()
        self._seen: set[str] = set()
        self._n_rows = 0

    def check(self, line: int, fields: list[str]) -> None:
        if not any(fields) and not (self._wanted.is_part and len(fields) > 1):
            return  # which RecBole passes over
        if len(fields) == 1 and not fields[0].strip():
            return
        if len(fields) > len(self._columns) or len(fields) <= self._last:
            raise self._malformed(line, self._wrong_number_of_fields(fields))
        self._n_rows += 1
        for index in self._ids:
            self._check_id(line, self._columns[index], fields[index])
        for index in self._numbers:
            self._check_number(line, index, fields[index])
        for index in self._sequences:
            if fields[index] not in MISSING and not all(
                map(_is_number, filter(None, fields[index].split(self._within)))
            ):
                raise self._malformed(line, f"expected numbers for {self._columns[index]}, found {_cut(fields[index])}")
        if self._wanted.is_unique:
            self._seen.add(fields[self._ids[0]])

    def finish(self) -> None:
        """Check, after the last line, what all of them are to have."""
        path = self._wanted.path
        if not self._n_rows:
            raise ConfigError(f"{path}: expected rows below the header, found none")
        for index in self._numbers:
            if index not in self._with_number:
                raise ConfigError(f"{path}: expected a number for {self._columns[index]} in some line, found none")
        repeated = self._n_rows - len(self._seen)
        if self._wanted.is_unique and repeated:
            name = self._columns[self._ids[0]]
            getLogger().info(
                f"{repeated:,} of {self._n_rows:,} rows of {path} left out: their {name} stands above them"
            )

    def _wrong_number_of_fields(self, fields: list[str]) -> str:
        problem = f"expected {len(self._columns)} fields, found {len(fields)}"
        if len(fields) > 1:
            return problem
        separator = _SEPARATORS.get(self._separator, repr(self._separator))
        return f"{problem}; they are to be separated by {separator} (field_separator)"

    def _check_id(self, line: int, column: str, text: str) -> None:
        if text in MISSING:
            found = f"{text!r}, which RecBole takes for none" if text else "nothing"
            raise self._malformed(line, f"expected an id for {column}, found {found}")
        if len(text) > _LONGEST_ID:
            raise self._malformed(line, f"expected an id of at most {_LONGEST_ID} characters for {column}, found more")

    def _check_number(self, line: int, index: int, text: str) -> None:
        if text in MISSING and index not in self._needed:
            return
        if text in MISSING or not _is_number(text):
            raise self._malformed(line, f"expected a number for {self._columns[index]}, found {_cut(text)}")
        self._with_number.add(index)

    def _malformed(self, line: int, problem: str) -> ConfigError:
        return _malformed(self._wanted.path, line, problem)


def _loaded(config: Any, suffix: str, path: Path, columns: list[str]) -> list[str]:
    """Names of the columns that RecBole loads, in the order of the file."""
    load, unload = (config[key] or {} for key in ("load_col", "unload_col"))
    wanted = load.get(suffix, []) if load else columns
    chosen = columns if wanted == "*" else wanted
    for option, names in (("load_col", chosen), ("unload_col", unload.get(suffix, []))):
        absent = [name for name in names if name not in columns] if _is_given(config, option) else []
        if absent:
            raise ConfigError(f"{option}: {suffix}: {path} has no column {absent[0]!r}; there are {', '.join(columns)}")
    return [name for name in columns if name in chosen and name not in unload.get(suffix, [])]


def _read_header(wanted: AtomicFile, line: str, separator: str) -> dict[str, str]:
    """Types of the columns by name."""
    if not line:
        raise ConfigError(f"{wanted.path}: expected a header of name:type fields, the file is empty")
    types: dict[str, str] = {}
    for field in line.rstrip("\r\n").split(separator):
        name, _, kind = field.partition(":")
        if kind not in _TYPES or name.startswith("\ufeff") or not name:
            expected = f"expected name:type with a type of {', '.join(sorted(_TYPES))}"
            found = _cut(field.lstrip("\ufeff"))
            raise _malformed(wanted.path, 1, f"{expected}, found {found}{_reading_hint(line, separator)}")
        if name in types:
            raise _malformed(wanted.path, 1, f"the column {name} stands twice; rename or remove one")
        types[name] = kind
    for name in wanted.ids:
        if name not in types:
            found = f"expected a column {name}:token, found {', '.join(types) or 'nothing'}"
            raise _malformed(wanted.path, 1, f"{found}{_reading_hint(line, separator)}")
        if types[name] != FeatureType.TOKEN.value:
            raise _malformed(wanted.path, 1, f"expected {name}:token, as ids are, found {name}:{types[name]}")
    return types


def _reading_hint(line: str, separator: str) -> str:
    """The option by which a header would be one."""
    mark = " after a byte order mark (encoding: utf-8-sig reads it)" if line.startswith("\ufeff") else ""
    for other, name in _SEPARATORS.items():
        fields = line.strip("\ufeff\r\n").split(other)
        if other != separator and len(fields) > 1 and all(field.partition(":")[2] in _TYPES for field in fields):
            option = "leave field_separator out" if other == "\t" else f"give --field_separator='{other}'"
            return f"{mark}; the fields are separated by {name}: {option}"
    return mark


def _is_number(text: str) -> bool:
    """Whether RecBole reads it as one that float32 holds."""
    try:
        return abs(float(text)) <= _LARGEST  # not so for NaN
    except ValueError:
        return False


def _cut(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


def _malformed(path: Path, line: int, problem: str) -> ConfigError:
    return ConfigError(f"{path}, line {line}: {problem}")
