"""The layouts in which publishers ship data, by the names that ``convert`` takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from recbole_cfgdiff.data.sources.amazon import VERSIONS, looks_like_amazon, open_amazon
from recbole_cfgdiff.data.sources.base import Source, find_files, numbered_lines
from recbole_cfgdiff.data.sources.delimited import Columns, open_delimited
from recbole_cfgdiff.data.sources.diffrec import PARTS, open_diffrec
from recbole_cfgdiff.data.sources.movielens import RATING_FILES, open_movielens
from recbole_cfgdiff.data.sources.sequences import open_sequences
from recbole_cfgdiff.data.sources.yelp import REVIEWS, open_yelp
from recbole_cfgdiff.errors import ConfigError

__all__ = ["SOURCES", "VERSIONS", "Columns", "open_source"]


_SAMPLE = 100  # lines
_RATING = re.compile(r"\S+\s+\S+\s+\d\d?(\.\d+)?\s+\d{9,}")  # the time in seconds, after 1973


def _most(lines: list[str], is_one: Callable[[str], bool]) -> bool:
    return sum(map(is_one, lines)) > len(lines) / 2


def _is_movielens(names: set[str], lines: list[str]) -> bool:
    def is_rating(line: str) -> bool:
        fields = line.split("\t")
        is_numbers = len(fields) == 4 and all(map(str.isdecimal, fields))
        return is_numbers or len(line.split("::")) == 4 or bool(_RATING.fullmatch(line))

    is_headed = bool(lines) and lines[0].lower().startswith("userid,movieid")
    return bool(names & set(RATING_FILES)) or is_headed or _most(lines, is_rating)


def _is_yelp(names: set[str], lines: list[str]) -> bool:
    return REVIEWS in names or _most(lines, lambda line: line.startswith("{") and '"business_id"' in line)


def _is_sequences(names: set[str], lines: list[str]) -> bool:
    def is_sequence(line: str) -> bool:
        return len(line.split()) > 1 and all(map(str.isdecimal, line.split())) and not _RATING.fullmatch(line)

    return _most(lines, is_sequence)


# Whether files of these names, the first lines of a single one given, can hardly be of another source.
_IS: dict[str, Callable[[set[str], list[str]], bool]] = {
    "movielens": _is_movielens,
    "yelp": _is_yelp,
    "amazon": lambda names, lines: looks_like_amazon(lines),
    "diffrec": lambda names, lines: f"{PARTS[0]}_list.npy" in names,
    "sequences": _is_sequences,
}
SOURCES = (*_IS, "csv")


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
        ConfigError: if the input is of another source, or of none.
    """
    if source != "csv":
        _check_is_not_another(source, path)
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


def _check_is_not_another(source: str, path: Path) -> None:
    """Whether the input can be of ``source`` at all is for its own reader to say."""
    files = find_files(path)
    lines: list[str] = []
    if len(files) == 1:
        lines = [line for _, line in islice(numbered_lines(next(iter(files.values())), "latin-1"), _SAMPLE)]
    found = [name for name, is_it in _IS.items() if is_it(set(files), lines)]
    if found and source not in found:
        raise ConfigError(
            f"{path}: this is not the layout of {source}; it looks like {found[0]}: convert {found[0]} ..."
        )
