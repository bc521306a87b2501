"""MovieLens: ml-100k, ml-1m, ml-10m, ml-20m, ml-25m, ml-32m and ml-latest, as GroupLens ships them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import WHOLE, Clock, Features, Interaction, Source, shown, stars_in
from recbole_cfgdiff.data.convert.sources.delimited import delimited_interactions
from recbole_cfgdiff.data.convert.sources.input_files import Files
from recbole_cfgdiff.data.convert.sources.reading import (
    BadLine,
    NotText,
    Reading,
    csv_rows,
    lines_of,
    numbered_lines,
    parsed,
)
from recbole_cfgdiff.data.convert.sources.table import Layout
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


def open_movielens(path: Path, files: Files, how: Reading) -> Source:
    """Open a MovieLens folder, archive or ratings file; titles, genres and users come from the files beside it.

    Raises:
        ConfigError: if there is no ratings file, or several; on a bad line, unless they are skipped.
    """
    name = files.one_of(RATING_FILES)
    ratings = files[name] if name else files.single("ratings file") if len(files) == 1 else None
    layout = name or (ratings and _layout_of(ratings, how))
    if ratings is None or layout is None:
        raise ConfigError(
            f"{path}: expected MovieLens's {', '.join(RATING_FILES)}; found {', '.join(files) or 'nothing'}"
        )
    beside = files.beside(ratings) if name else files
    return Source(
        f"MovieLens, {layout}",
        {WHOLE: _ratings(ratings, layout, how)},
        how,
        _items(beside, layout, how.again()),
        _users(beside, layout, how.again()),
    )


def _layout_of(file: TextFile, how: Reading) -> str | None:
    """Which ratings file a file of another name is, by its first line."""
    first = next(lines_of(file, how.again(), "latin-1"), "")
    if "::" in first:
        return "ratings.dat"
    if first.lower().replace('"', "").startswith("userid,movieid"):
        return "ratings.csv"
    return "u.data" if len(first.split("\t")) == 4 else None


def _ratings(file: TextFile, layout: str, how: Reading) -> Iterator[Interaction]:
    if layout == "ratings.csv":
        return delimited_interactions(file, how, Layout("userId", "movieId", "rating", "timestamp"))
    separator = {"u.data": "\t", "ratings.dat": "::"}[layout]
    clock = Clock(how)

    def parse(line: str) -> Interaction:
        fields = line.split(separator)
        if len(fields) != 4 or not fields[0] or not fields[1]:
            raise BadLine(f"expected user{separator}item{separator}rating{separator}time, found {shown(line)}")
        user, item, rating, time = fields
        return Interaction(user, item, stars_in("rating", rating), clock.seconds(time))

    return parsed(file, numbered_lines(file, how), parse, how)


def _items(files: Files, layout: str, how: Reading) -> Features | None:
    columns = ["item_id:token", "movie_title:token", "class:token_seq"]
    if layout == "u.data" and "u.item" in files:
        return Features(columns, _rows(files["u.item"], how, "|", 24, _item_100k), how)
    if layout == "ratings.dat" and "movies.dat" in files:
        return Features(columns, _rows(files["movies.dat"], how, "::", 3, _item_with_genres), how)
    if layout == "ratings.csv" and "movies.csv" in files:
        return Features(columns, _csv_items(files["movies.csv"], how), how)
    return None


def _users(files: Files, layout: str, how: Reading) -> Features | None:
    columns = ["user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"]
    if layout == "u.data" and "u.user" in files:
        return Features(columns, _rows(files["u.user"], how, "|", 5, list), how)
    if layout == "ratings.dat" and "users.dat" in files:
        return Features(columns, _rows(files["users.dat"], how, "::", 5, _user_1m), how)
    return None


def _item_100k(row: list[str]) -> list[Any]:
    return [row[0], row[1], [genre for genre, flag in zip(_GENRES_100K, row[5:]) if flag == "1"]]


def _item_with_genres(row: list[str]) -> list[Any]:
    return [row[0], row[1], row[2].split("|")]


def _user_1m(row: list[str]) -> list[Any]:
    """``users.dat`` has the gender before the age."""
    return [row[0], row[2], row[1], *row[3:]]


def _rows(
    file: TextFile, how: Reading, separator: str, width: int, convert: Callable[[list[str]], list[Any]]
) -> Iterator[list[Any]]:
    def parse(line: str) -> list[Any]:
        fields = line.split(separator)
        if len(fields) != width or not fields[0]:
            raise BadLine(f"expected {width} fields, an id first, found {shown(line)}")
        return convert(fields)

    return parsed(file, _text_of(file, how), parse, how)


def _text_of(file: TextFile, how: Reading) -> Iterator[tuple[int, str]]:
    """The numbered lines of a file of items or users: UTF-8 in ml-10m, Latin-1 in the older ones."""
    try:
        for _ in lines_of(file, how.again()):
            pass
    except NotText:
        how.encoding = how.encoding or "latin-1"
    yield from numbered_lines(file, how)


def _csv_items(file: TextFile, how: Reading) -> Iterator[list[Any]]:
    def parse(row: list[Any]) -> list[Any]:
        if len(row) != 3 or None in row:
            raise BadLine("expected movieId,title,genres")
        return _item_with_genres(row)

    rows = csv_rows(file, how)
    next(rows, None)
    return parsed(file, rows, parse, how)
