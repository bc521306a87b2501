"""From an opened source to a folder of RecBole's atomic files, in memory that grows by some 20 bytes an interaction."""

from __future__ import annotations

import errno
import glob
import itertools
import re
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tabulate import tabulate

from recbole_cfgdiff.data.convert.sources.base import WHOLE, Features, Interaction, Source
from recbole_cfgdiff.data.convert.tokens import escape, escape_word
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import folder_in_one_piece, remove_left_overs
from recbole_cfgdiff.names import check_name, check_path
from recbole_cfgdiff.properties import PROPERTIES

_ROWS_AT_ONCE = 100_000
_EXISTS = "exists already; --overwrite replaces it"


@dataclass
class Interactions:
    """Columns of equal length.

    Attributes:
        users: indices into ``user_tokens``, int32.
        items: indices into ``item_tokens``, int32.
        ratings: float64, or None.
        times: float64, or None.
        user_tokens: ids of the users.
        item_tokens: ids of the items.
    """

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray | None
    times: np.ndarray | None
    user_tokens: list[str]
    item_tokens: list[str]

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray) -> Interactions:
        """Some of the rows, in this order."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            ratings=None if self.ratings is None else self.ratings[rows],
            times=None if self.times is None else self.times[rows],
        )


def collect(parts: dict[str, Iterator[Interaction]]) -> dict[str, Interactions]:
    """Read all interactions into columns, which share their tokens.

    A column of ratings or of times is there if every record has one.

    Raises:
        ConfigError: if there is none in a part.
    """
    user_index: dict[str, int] = {}
    item_index: dict[str, int] = {}
    columns = {part: _collect_part(records, user_index, item_index) for part, records in parts.items()}
    for part, (users, *_) in columns.items():
        if not users:
            raise ConfigError(
                f"no interactions{part and ' in ' + part}: the source is empty, or all lines were skipped"
            )
    user_tokens, item_tokens = list(user_index), list(item_index)
    return {
        part: Interactions(
            np.frombuffer(users, dtype=np.int32),
            np.frombuffer(items, dtype=np.int32),
            np.frombuffer(ratings) if len(ratings) == len(users) else None,
            np.frombuffer(times) if len(times) == len(users) else None,
            user_tokens,
            item_tokens,
        )
        for part, (users, items, ratings, times) in columns.items()
    }


def _collect_part(
    records: Iterator[Interaction], user_index: dict[str, int], item_index: dict[str, int]
) -> tuple[array, array, array, array]:
    users, items, ratings, times = array("i"), array("i"), array("d"), array("d")
    for user, item, rating, time in records:
        users.append(user_index.setdefault(user, len(user_index)))
        items.append(item_index.setdefault(item, len(item_index)))
        if rating is not None:
            ratings.append(rating)
        if time is not None:
            times.append(time)
    return users, items, ratings, times


def in_time_order(interactions: Interactions) -> Interactions:
    """Rows by time, equal times in the order of the source; as they are without times."""
    if interactions.times is None:
        return interactions
    return interactions.take(np.argsort(interactions.times, kind="stable"))


def without_duplicates(interactions: Interactions) -> Interactions:
    """Of each pair of user and item the first row."""
    pairs = interactions.users.astype(np.int64) * len(interactions.item_tokens) + interactions.items
    _, first = np.unique(pairs, return_index=True)
    return interactions.take(np.sort(first))


def convert(source: Source, name: str, output: Path, overwrite: bool = False) -> str:
    """Write the data set ``output/name``: in time order and of repeated pairs the first, or a given split as it is.

    Args:
        source: an opened source.
        name: name of the data set.
        output: folder of data sets.
        overwrite: replace an existing data set of that name.

    Returns:
        statistics, as a table for the terminal.

    Raises:
        ConfigError: if the data set exists, the source is bad or empty, or the disk is full; nothing is left behind.
    """
    check_name("--name", name)
    check_path("--output", output)
    if name == "ml-100k":
        raise ConfigError("--name: under ml-100k RecBole loads the copy that it ships; choose another name")
    with new_folder(output / name, overwrite) as folder:
        found = collect(source.parts)
        parts = found
        options = _fields(next(iter(parts.values())), source.time_field)
        if list(parts) == [WHOLE]:
            parts = {WHOLE: without_duplicates(in_time_order(found[WHOLE]))}
        else:
            options["benchmark_filename"] = list(parts)
        for part, interactions in parts.items():
            write_inter(folder / f"{name}{part and '.' + part}.inter", interactions, source.time_field)
        notes = _what_became_of_rows(source, *(sum(map(len, rows.values())) for rows in (found, parts)))
        whole = next(iter(found.values()))  # whose tokens are those of all parts
        for suffix, features, tokens in (
            ("item", source.items, whole.item_tokens),
            ("user", source.users, whole.user_tokens),
        ):
            if features is not None:
                notes |= write_features(folder / f"{name}.{suffix}", features, tokens)
        write_yaml(folder, name, options)
    return statistics(parts, source, notes)


def _what_became_of_rows(source: Source, found: int, written: int) -> dict[str, Any]:
    return {
        **source.how.notes,
        "rows read": found + source.how.bad_lines,
        "bad lines skipped": source.how.bad_lines,
        "duplicates left out": found - written,
        "rows written": written,
    }


@contextmanager
def new_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write into, which takes the name ``target`` at the end, and disappears on an error.

    A data set that it takes the place of is there until then, and again if something fails.

    Raises:
        ConfigError: if there is one of that name which may not be replaced, or nothing can be written.
    """
    try:
        _put_back(target)
        _check_may_be_written(target, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_left_overs(target.parent)
        with ExitStack() as stack, folder_in_one_piece(target) as folder:
            yield folder
            if overwrite and target.exists():
                stack.enter_context(_out_of_the_way(target))
    except FileExistsError as error:
        raise ConfigError(f"{target}: {_EXISTS}") from error
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror or error}{_room(target, error)}; nothing was written") from error


def _check_may_be_written(target: Path, overwrite: bool) -> None:
    """Raises ConfigError, and OSError where it can't be told."""
    if target.parent.exists() and not target.parent.is_dir():
        raise ConfigError(f"--output: {target.parent} is a file; expected a folder")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target}: {_EXISTS}")
    if target.exists() and not list(target.glob(f"{glob.escape(target.name)}*.inter")):
        raise ConfigError(f"{target}: not replaced, it is no data set")
    written = re.compile(rf"{re.escape(target.name)}(\.\w+)?\.(inter|item|user|yaml)")
    others = (
        sorted(path.name for path in target.iterdir() if not written.fullmatch(path.name)) if target.exists() else []
    )
    if others:
        raise ConfigError(
            f"{target}: not replaced, it also has {', '.join(others)}, which no conversion wrote; move it"
        )


def _replaced(target: Path) -> Path:
    """Where a data set is while another takes its place. No left-over: it may be the only copy."""
    return target.with_name(f".{target.name}.replaced")


@contextmanager
def _out_of_the_way(target: Path) -> Iterator[None]:
    """Move a data set away, and remove it at the end; on an error it is put back."""
    target.rename(_replaced(target))
    try:
        yield
    finally:
        _put_back(target)


def _put_back(target: Path) -> None:
    """What was moved away takes its name again, unless there is another by now: then it is removed."""
    replaced = _replaced(target)
    if not target.exists() and replaced.exists():
        replaced.rename(target)
    elif replaced.is_symlink():
        replaced.unlink()
    else:
        shutil.rmtree(replaced, ignore_errors=True)


def _room(target: Path, error: OSError) -> str:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    return f", {shutil.disk_usage(target.parent).free >> 20} MiB free"


def write_inter(path: Path, interactions: Interactions, time_field: str) -> None:
    """Write an ``.inter`` file."""
    tokens = [list(map(escape, names)) for names in (interactions.user_tokens, interactions.item_tokens)]
    columns: dict[str, tuple[np.ndarray, Callable[[Any], str]]] = {
        "user_id:token": (interactions.users, tokens[0].__getitem__),
        "item_id:token": (interactions.items, tokens[1].__getitem__),
    }
    if interactions.ratings is not None:
        columns["rating:float"] = (interactions.ratings, _exact)
    if interactions.times is not None:
        columns[f"{time_field}:float"] = (interactions.times, _exact)
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(columns) + "\n")
        for start in range(0, len(interactions), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            texts = [map(write, values[rows].tolist()) for values, write in columns.values()]
            file.writelines("\t".join(row) + "\n" for row in zip(*texts))


def _exact(value: float) -> str:
    """The shortest text that reads back as the same float64."""
    return str(int(value)) if value.is_integer() else repr(value)


def write_features(path: Path, features: Features, tokens: Iterable[str]) -> dict[str, Any]:
    """Write a ``.user`` or ``.item`` file, of repeated ids the first row. What is to be told of it.

    Args:
        path: where to.
        features: its columns and rows.
        tokens: the ids of the interactions.
    """
    seen: set[str] = set()
    found = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(features.columns) + "\n")
        for row in features.rows:
            found += 1
            if row[0] not in seen:
                seen.add(row[0])
                file.write("\t".join(map(_cell, row)) + "\n")
    told = {
        **features.how.notes,
        "rows": len(seen),
        "repeated ids left out": found - len(seen),
        "bad lines skipped": features.how.bad_lines,
        "in no interaction": len(seen.difference(tokens)),
        "in interactions, without a row": len(set(tokens) - seen),
    }
    return {f"{path.suffix[1:]}s, {what}": value for what, value in told.items() if value or what == "rows"}


def _cell(value: str | list[str]) -> str:
    return " ".join(map(escape_word, value)) if isinstance(value, list) else escape(value)


def _fields(interactions: Interactions, time_field: str) -> dict[str, Any]:
    columns = ["user_id", "item_id"]
    columns += ["rating"] if interactions.ratings is not None else []
    columns += [time_field] if interactions.times is not None else []
    return {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": time_field,
        "load_col": {"inter": columns},
    }


def write_yaml(folder: Path, name: str, options: dict[str, Any]) -> None:
    """Write ``name.yaml``, which the configuration finds beside the data, unless one is shipped for that name.

    Raises:
        ConfigError: if the one that is shipped is for other columns.
    """
    shipped = PROPERTIES / "dataset" / f"{name}.yaml"
    if not shipped.is_file():
        text = yaml.safe_dump(options, sort_keys=False)
        (folder / f"{name}.yaml").write_text(f"# Written by the conversion of this data set.\n{text}", encoding="utf-8")
    elif yaml.safe_load(shipped.read_text(encoding="utf-8")).get("load_col") != options["load_col"]:
        raise ConfigError(f"--name: {name} has settings of its own ({shipped.name}), for other columns; choose another")


def statistics(parts: dict[str, Interactions], source: Source, notes: dict[str, int]) -> str:
    """A table: users, items, interactions of each part, density, histogram of ratings, span of times."""
    users = np.concatenate([part.users for part in parts.values()])
    items = np.concatenate([part.items for part in parts.values()])
    n_users, n_items = len(np.unique(users)), len(np.unique(items))
    rows: list[tuple[str, Any]] = [("source", source.description), ("users", n_users), ("items", n_items)]
    rows += [(f"interactions{part and ', ' + part}", len(rows_)) for part, rows_ in parts.items()]
    rows.append(("density", f"{len(users) / (n_users * n_items):.4%}"))
    whole = next(iter(parts.values()))
    if whole.ratings is not None:
        rows += _histogram(whole.ratings)
    if whole.times is not None and source.time_field == "timestamp":
        rows.append(("times", " to ".join(_date(time) for time in (whole.times.min(), whole.times.max()))))
    return tabulate([*rows, *notes.items()], tablefmt="plain", disable_numparse=True)


def _histogram(ratings: np.ndarray) -> list[tuple[str, int]]:
    """Counts of each rating, or of ten spans where there are many."""
    values, counts = np.unique(ratings, return_counts=True)
    if len(values) <= 20:
        return [(f"rating {_exact(value)}", count) for value, count in zip(values.tolist(), counts.tolist())]
    counts, edges = np.histogram(ratings, bins=10)
    spans = itertools.pairwise(edges)
    return [(f"rating {low:g} to {high:g}", count) for (low, high), count in zip(spans, counts.tolist())]


def _date(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d")
    except (OverflowError, OSError, ValueError):
        return f"{seconds:g} s"
