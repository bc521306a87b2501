"""RecBole's atomic files, read and checked before RecBole makes a data set of them: which there are to be, and how they
fit together. RecBole fills gaps in silence and names no line, and reads several times as slowly."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import recbole.data.dataset
from recbole.data.dataset import KnowledgeBasedDataset
from recbole.utils import ModelType, argument_list

from recbole_cfgdiff.data.atomic_data import AtomicData
from recbole_cfgdiff.data.atomic_file import AtomicFile, is_given, is_labeled, read_file
from recbole_cfgdiff.errors import ConfigError

_SUFFIXES = ("inter", "user", "item", "kg", "link", "net")


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
    return json.dumps([where, options, _loads_knowledge(config), is_labeled(config)], sort_keys=True, default=str)


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
        for suffix in (config[option] or {}) if is_given(config, option) else ():
            if suffix != "inter" and not (folder / f"{name}.{suffix}").is_file():
                raise ConfigError(f"{option}: {suffix}: there is no file {folder / f'{name}.{suffix}'}")
