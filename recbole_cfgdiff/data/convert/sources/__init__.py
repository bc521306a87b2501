"""The layouts in which publishers ship data, by the names that ``convert`` takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from recbole_cfgdiff.data.convert.sources.amazon import VERSIONS, looks_like_amazon, open_amazon
from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import TIME_UNITS, Source
from recbole_cfgdiff.data.convert.sources.delimited import open_delimited
from recbole_cfgdiff.data.convert.sources.diffrec import PARTS, open_diffrec
from recbole_cfgdiff.data.convert.sources.input_files import Files, find_files
from recbole_cfgdiff.data.convert.sources.movielens import RATING_FILES, open_movielens
from recbole_cfgdiff.data.convert.sources.reading import LONGEST_LINE, NotText, Reading, check_encoding, first_lines
from recbole_cfgdiff.data.convert.sources.sequences import open_sequences
from recbole_cfgdiff.data.convert.sources.table import Layout
from recbole_cfgdiff.data.convert.sources.yelp import REVIEWS, open_yelp
from recbole_cfgdiff.errors import ConfigError

__all__ = ["LONGEST_LINE", "SOURCES", "TIME_UNITS", "VERSIONS", "Layout", "Reading", "check_encoding", "open_source"]


_SAMPLE = 100  # lines
_RATING = re.compile(r"\S+\s+\S+\s+\d\d?(\.\d+)?\s+\d{9,}")  # the time in seconds, after 1973


def _most(lines: list[str], is_one: Callable[[str], bool]) -> bool:
    return sum(map(is_one, lines)) > len(lines) / 2


def _is_movielens(names: set[str], lines: list[str]) -> bool:
    def is_rating(line: str) -> bool:
        fields = line.split("\t")
        is_numbers = len(fields) == 4 and all(map(str.isdecimal, fields))
        return is_numbers or len(line.split("::")) == 4 or bool(_RATING.fullmatch(line))

    is_headed = bool(lines) and lines[0].lower().replace('"', "").startswith("userid,movieid")
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
    source: str, path: Path, how: Reading, version: str | None = None, layout: Layout | None = None
) -> Source:
    """Open ``path`` in the layout of ``source``.

    Args:
        source: one of ``SOURCES``.
        path: the publisher's file, folder or archive.
        how: how files are read.
        version: of ``amazon``; None detects it.
        layout: of ``csv``.

    Raises:
        ConfigError: if the input is of another source, or of none.
    """
    files = find_files(path)
    if layout is not None:
        return open_delimited(files, how, layout)
    _check_is_not_another(source, path, files, how)
    if source == "movielens":
        return open_movielens(path, files, how)
    if source == "yelp":
        return open_yelp(path, files, how)
    if source == "amazon":
        return open_amazon(path, files, how, version)
    if source == "diffrec":
        return open_diffrec(path, files)
    return open_sequences(files, how)


def _check_is_not_another(source: str, path: Path, files: Files, how: Reading) -> None:
    """Whether the input can be of ``source`` at all is for its own reader to say."""
    lines = _first_lines(files[next(iter(files))], how) if len(files) == 1 else []
    found = [name for name, is_it in _IS.items() if is_it(set(files), lines)]
    if found and source not in found:
        raise ConfigError(
            f"{path}: this is not the layout of {source}; it looks like {found[0]}: convert {found[0]} ..."
        )


def _first_lines(file: TextFile, how: Reading) -> list[str]:
    """No line if it is no text."""
    try:
        return first_lines(file, how, _SAMPLE, "latin-1")
    except NotText:
        return []
