"""The layouts in which publishers ship data, by the names that ``convert`` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recbole_cfgdiff.data.sources.amazon import VERSIONS, looks_like_amazon, open_amazon
from recbole_cfgdiff.data.sources.base import Source, find_files, lines_of
from recbole_cfgdiff.data.sources.delimited import Columns, open_delimited
from recbole_cfgdiff.data.sources.diffrec import PARTS, open_diffrec
from recbole_cfgdiff.data.sources.movielens import RATING_FILES, open_movielens
from recbole_cfgdiff.data.sources.sequences import open_sequences
from recbole_cfgdiff.data.sources.yelp import REVIEWS, open_yelp
from recbole_cfgdiff.errors import ConfigError

__all__ = ["SOURCES", "VERSIONS", "Columns", "open_source"]


def _is_movielens(names: set[str], line: str) -> bool:
    is_100k = [field.isdigit() for field in line.split("\t")] == [True] * 4
    return bool(names & set(RATING_FILES)) or "::" in line or line.lower().startswith("userid,movieid") or is_100k


def _is_sequences(names: set[str], line: str) -> bool:
    return len(line.split()) > 1 and not set(line) & set(',{:"') and not _is_movielens(names, line)


# Whether files of these names, the first line of a single one given, look like the source.
_LOOKS_LIKE: dict[str, Callable[[set[str], str], bool]] = {
    "movielens": _is_movielens,
    "yelp": lambda names, line: REVIEWS in names or (line.startswith("{") and '"business_id"' in line),
    "amazon": lambda names, line: looks_like_amazon(line),
    "diffrec": lambda names, line: f"{PARTS[0]}_list.npy" in names,
    "sequences": _is_sequences,
    "csv": lambda names, line: True,
}
SOURCES = tuple(_LOOKS_LIKE)


def open_source(
    source: str, path: Path, skip_bad_lines: bool, version: str | None, columns: Columns, delimiter: str
) -> Source:
    """Open ``path`` in the layout of ``source``.

    Args:
        source: one of ``SOURCES``.
        path: the publisher's file, folder or archive.
        skip_bad_lines: count bad lines and pass over them.
        version: of ``amazon``; None detects it.
        columns: of ``csv``.
        delimiter: of ``csv``.

    Raises:
        ConfigError: if the input looks like another source, or like none.
    """
    _check_looks(source, path, forced=version is not None)
    if source == "movielens":
        return open_movielens(path, skip_bad_lines)
    if source == "yelp":
        return open_yelp(path, skip_bad_lines)
    if source == "amazon":
        return open_amazon(path, skip_bad_lines, version)
    if source == "diffrec":
        return open_diffrec(path)
    if source == "sequences":
        return open_sequences(path, skip_bad_lines)
    return open_delimited(path, skip_bad_lines, columns, delimiter)


def _check_looks(source: str, path: Path, forced: bool) -> None:
    files = find_files(path)
    single = next(iter(files.values())) if len(files) == 1 else None
    line = next(lines_of(single, "latin-1"), "") if single else ""
    if forced or _LOOKS_LIKE[source](set(files), line):
        return
    others = [name for name, looks_like in _LOOKS_LIKE.items() if name != "csv" and looks_like(set(files), line)]
    found = f"it begins with {line[:60]!r}" if single else f"it has {', '.join(sorted(files)[:5]) or 'no files'}"
    hint = f"it looks like {others[0]}: convert {others[0]} ..." if others else found
    raise ConfigError(f"{path}: this is not the layout of {source}; {hint}")
