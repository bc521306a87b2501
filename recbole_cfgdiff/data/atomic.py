"""RecBole's atomic files, read and checked before RecBole makes a data set of them: which there are to be, their
headers, and their columns. RecBole fills gaps in silence and names no line, and reads several times as slowly."""

from __future__ import annotations

import codecs
import glob
import hashlib
import io
import json
import re
from collections.abc import Iterator
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import recbole.data.dataset
from recbole.data.dataset import KnowledgeBasedDataset
from recbole.utils import FeatureType, ModelType, argument_list

from recbole_cfgdiff.data.atomic_data import AtomicData, Table
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
_SUFFIXES = ("inter", "user", "item", "kg", "link", "net")


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


def read_atomic_files(config: Any) -> AtomicData:
    """Read and check the atomic files that RecBole will load columns of, each once.

    Raises:
        ConfigError: if one is missing (which file is expected where) or malformed (file, line, what was expected); if
            a column that ``load_col`` or ``unload_col`` names does not exist, or stands in two files.
    """
    _check_reading_options(config)
    wanted = {file.path: file for file in _files(config)}
    tables, content = {}, hashlib.sha256()
    for path in _all_files(config):
        content.update(path.name.encode())
        if path in wanted:
            tables[path] = read_file(wanted[path], config, content)
        else:
            _add_content(path, content)
    for path in [path for path in wanted if path not in tables]:  # additional_feat_suffix
        tables[path] = read_file(wanted[path], config, hashlib.sha256())
    data = AtomicData(reading_of(config), _short(content), {path.name: tables[path] for path in wanted})
    _check_columns(config, data)
    return data


def reading_of(config: Any) -> str:
    """The options by which files are read and checked; data that was read by the same can be taken."""
    options = {name: config[name] for name in (*argument_list.dataset_arguments, "encoding")}
    where = str(Path(config["data_path"]).resolve())
    return json.dumps([where, options, _loads_knowledge(config), _is_labeled(config)], sort_keys=True, default=str)


def _check_columns(config: Any, data: AtomicData) -> None:
    """That all parts of a data set have the same, and what ``_check_places`` checks."""
    types = data.types()
    for name, table in data.tables.items():
        expected, found = types[table.suffix], table.types()
        if found != expected:
            path = Path(config["data_path"]) / name
            raise ConfigError(f"{path}: expected columns {_header(expected)}, found {_header(found)}")
    _check_places(config, types)


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
    content = hashlib.sha256()
    for path in _all_files(config):
        content.update(path.name.encode())
        _add_content(path, content)
    return _short(content)


def _all_files(config: Any) -> list[Path]:
    folder, name = Path(config["data_path"]), config["dataset"]
    found = folder.glob(f"{glob.escape(name)}.*")
    return sorted(path for path in found if path.is_file() and path.suffix[1:] in _SUFFIXES)


def _add_content(path: Path, content: Any) -> None:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)


def _short(content: Any) -> str:
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
    if wanted.suffix == "inter" and _is_labeled(config):
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


def _is_labeled(config: Any) -> bool:
    return "labeled" in config["eval_args"]["mode"].values()


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
