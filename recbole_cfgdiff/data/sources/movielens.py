"""MovieLens: ml-100k, ml-1m, ml-10m, ml-20m, ml-25m, ml-32m and ml-latest, as GroupLens ships them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable

from recbole_cfgdiff.data.sources.base import (
    WHOLE,
    BadLine,
    Features,
    Interaction,
    NotText,
    Source,
    TextFile,
    csv_rows,
    files_beside,
    find_files,
    lines_of,
    number_in,
    numbered_lines,
    parsed,
)
from recbole_cfgdiff.data.sources.delimited import Columns, delimited_interactions
from recbole_cfgdiff.errors import ConfigError

RATING_FILES = ("u.data", "ratings.dat", "ratings.csv")

# ml-100k's u.genre: the order of the last 19 columns of u.item.
_GENRES_100K = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]


def open_movielens(path: Path, skip_bad_lines: bool) -> Source:
    """Open a MovieLens folder, archive or ratings file; titles, genres and users come from the files beside it.

    Raises:
        ConfigError: if there is no ratings file; on a bad line, unless they are skipped.
    """
    files: Mapping[str, TextFile] = find_files(path)
    if path.is_file() and path.name in RATING_FILES:
        files = files_beside(path)
    name = next((name for name in RATING_FILES if name in files), None)
    if name is None and len(files) == 1:
        name, files = _layout_of_single(files)
    if name is None:
        raise ConfigError(
            f"{path}: expected MovieLens's {', '.join(RATING_FILES)}; found {', '.join(files) or 'nothing'}"
        )
    bad_lines = [0]
    counted = bad_lines if skip_bad_lines else None
    return Source(
        f"MovieLens, {name}",
        {WHOLE: _ratings(files[name], name, counted)},
        _items(files, name),
        _users(files, name),
        bad_lines,
    )


def _layout_of_single(files: Mapping[str, TextFile]) -> tuple[str | None, Mapping[str, TextFile]]:
    """Which ratings file a file of another name is, by its first line."""
    file = next(iter(files.values()))
    first = next(lines_of(file, "latin-1"), "")
    if "::" in first:
        name = "ratings.dat"
    elif first.lower().startswith("userid,movieid"):
        name = "ratings.csv"
    elif len(first.split("\t")) == 4:
        name = "u.data"
    else:
        return None, files
    return name, {name: file}


def _ratings(file: TextFile, name: str, bad_lines: list[int] | None) -> Iterator[Interaction]:
    if name == "ratings.csv":
        return delimited_interactions(file, Columns("userId", "movieId", "rating", "timestamp"), bad_lines)
    separator = {"u.data": "\t", "ratings.dat": "::"}[name]

    def parse(line: str) -> Interaction:
        fields = line.split(separator)
        if len(fields) != 4 or not fields[0] or not fields[1]:
            raise BadLine(f"expected user{separator}item{separator}rating{separator}time, found {line!r}")
        user, item, rating, time = fields
        return Interaction(user, item, number_in("rating", rating), number_in("time", time))

    return parsed(file, numbered_lines(file), parse, bad_lines)


def _items(files: Mapping[str, TextFile], ratings: str) -> Features | None:
    columns = ["item_id:token", "movie_title:token", "class:token_seq"]
    if ratings == "u.data" and "u.item" in files:
        return Features(columns, _rows(files["u.item"], "|", 24, _item_100k))
    if ratings == "ratings.dat" and "movies.dat" in files:
        return Features(columns, _rows(files["movies.dat"], "::", 3, _item_with_genres))
    if ratings == "ratings.csv" and "movies.csv" in files:
        return Features(columns, _csv_items(files["movies.csv"]))
    return None


def _users(files: Mapping[str, TextFile], ratings: str) -> Features | None:
    columns = ["user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"]
    if ratings == "u.data" and "u.user" in files:
        return Features(columns, _rows(files["u.user"], "|", 5, list))
    if ratings == "ratings.dat" and "users.dat" in files:
        # users.dat has the gender before the age.
        return Features(columns, _rows(files["users.dat"], "::", 5, lambda row: [row[0], row[2], row[1], *row[3:]]))
    return None


def _item_100k(row: list[str]) -> list[Any]:
    return [row[0], row[1], [genre for genre, flag in zip(_GENRES_100K, row[5:]) if flag == "1"]]


def _item_with_genres(row: list[str]) -> list[Any]:
    return [row[0], row[1], row[2].split("|")]


def _rows(file: TextFile, separator: str, width: int, convert: Callable[[list[str]], list[Any]]) -> Iterator[list[Any]]:
    for number, line in _text_of(file):
        fields = line.split(separator)
        if len(fields) != width:
            raise ConfigError(f"{file}, line {number}: expected {width} fields, found {len(fields)}")
        yield convert(fields)


def _text_of(file: TextFile) -> list[tuple[int, str]]:
    """The numbered lines of a file of items or users: UTF-8 in ml-10m, Latin-1 in the older ones."""
    try:
        return list(numbered_lines(file))
    except NotText:
        return list(numbered_lines(file, "latin-1"))


def _csv_items(file: TextFile) -> Iterator[list[Any]]:
    rows = csv_rows(file)
    next(rows, None)
    for number, row in rows:
        if len(row) != 3:
            raise ConfigError(f"{file}, line {number}: expected movieId,title,genres")
        yield _item_with_genres(row)
