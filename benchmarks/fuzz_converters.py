"""Damaged inputs for ``convert``: every layout, plain, compressed and archived; cut, flipped, filled with odd bytes.

An input must be refused by one line and leave nothing behind, or give the right data: where a compressed stream is
damaged, that of the undamaged one; where text is, rows that add up with what the summary tells.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import random
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_cfgdiff.commands.cli import main


class Row(NamedTuple):
    user: str
    item: str
    rating: int
    time: int


class Input(NamedTuple):
    """What a publisher ships.

    Attributes:
        arguments: of ``convert``, the source first.
        files: contents by name, that of the interactions first.
        header: lines of it that are no data.
        is_a_row_a_line: whether each line is one interaction.
    """

    arguments: list[str]
    files: dict[str, bytes]
    header: int = 0
    is_a_row_a_line: bool = True


_ODD = [
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b'"',
    b"\r",
    b"\n",
    b"\t",
    b",",
    b"::",
    b"\x1a",
    b"\xef\xbb\xbf",
    b"9" * 400,
    b"{",
]
_CSV = ["--user-col=who", "--item-col=what", "--rating-col=stars", "--time-col=when"]


def _rows(rng: random.Random) -> list[Row]:
    pairs = {(rng.randrange(1, 9), rng.randrange(10, 40)) for _ in range(rng.randrange(4, 30))}
    return [
        Row(f"A{user:010d}", f"B{item:09d}", rng.randrange(1, 6), rng.randrange(10**9, 2 * 10**9))
        for user, item in sorted(pairs)
    ]


def _lines(lines: list[str], end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def _table(rows: list[list[Any]], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()


def _joined(rows: list[Row], separator: str) -> bytes:
    return _lines([separator.join(map(str, row)) for row in rows])


def _items(rows: list[Row]) -> list[str]:
    return sorted({row.item for row in rows})


def _u_data(rows: list[Row]) -> Input:
    titles = _lines(
        [f"{item}|Title|01-Jan-1990||http://x|{'|'.join('01' + '0' * 17)}" for item in {r.item for r in rows}]
    )
    users = _lines([f"{user}|24|M|technician|85711" for user in {row.user for row in rows}])
    return Input(["movielens"], {"u.data": _joined(rows, "\t"), "u.item": titles, "u.user": users})


def _ratings_dat(rows: list[Row]) -> Input:
    titles = _lines([f"{item}::Café (1990)::Drama|War" for item in _items(rows)])
    return Input(["movielens"], {"ratings.dat": _joined(rows, "::"), "movies.dat": titles})


def _ratings_csv(rows: list[Row]) -> Input:
    titles = _table(
        [["movieId", "title", "genres"], *([item, "One, two", "War"] for item in {row.item for row in rows})]
    )
    header = ["userId", "movieId", "rating", "timestamp"]
    return Input(["movielens"], {"ratings.csv": _table([header, *map(list, rows)]), "movies.csv": titles}, 1)


def _yelp(rows: list[Row]) -> Input:
    keys = ("user_id", "business_id", "stars")
    reviews = [json.dumps({**dict(zip(keys, row)), "date": "2018-07-07 22:09:11", "text": "ü\n"}) for row in rows]
    shops = [json.dumps({"business_id": row.item, "name": "Zoë", "categories": "Food, Bars"}) for row in rows]
    names = [f"yelp_academic_dataset_{kind}.json" for kind in ("review", "business")]
    return Input(["yelp"], dict(zip(names, (_lines(reviews), _lines(shops)))))


def _amazon_json(dump: Callable[[dict], str], keys: tuple[str, ...], factor: int = 1) -> Callable[[list[Row]], Input]:
    def make(rows: list[Row]) -> Input:
        records = [dump(dict(zip(keys, (*row[:3], row.time * factor)))) for row in rows]
        return Input(["amazon"], {"reviews.json": _lines(records)})

    return make


def _amazon_2014_csv(rows: list[Row]) -> Input:
    return Input(["amazon"], {"ratings.csv": _table([list(row) for row in rows])})


def _amazon_2018_csv(rows: list[Row]) -> Input:
    return Input(["amazon"], {"ratings.csv": _table([[item, user, *rest] for user, item, *rest in rows])})


def _amazon_2023_csv(rows: list[Row]) -> Input:
    header = ["user_id", "parent_asin", "rating", "timestamp"]
    return Input(["amazon"], {"a.csv": _table([header, *([*row[:3], 1000 * row.time] for row in rows)])}, 1)


def _sequences(rows: list[Row]) -> Input:
    users: dict[str, list[str]] = {}
    for row in rows:
        users.setdefault(row.user, []).append(row.item)
    lines = [" ".join([user, *items]) for user, items in users.items()]
    return Input(["sequences"], {"a.txt": _lines(lines)}, is_a_row_a_line=False)


def _diffrec(rows: list[Row]) -> Input:
    files = {}
    for part in ("train", "valid", "test"):
        content = io.BytesIO()
        np.save(content, np.array([[int(row.user[1:]), int(row.item[1:])] for row in rows]))
        files[f"{part}_list.npy"] = content.getvalue()
    return Input(["diffrec"], files, is_a_row_a_line=False)


def _delimited(delimiter: str, *options: str, quoting: int = csv.QUOTE_MINIMAL) -> Callable[[list[Row]], Input]:
    def make(rows: list[Row]) -> Input:
        header = ["who", "what", "stars", "when", "title"]
        table = _table([header, *([*row, "It's 7"] for row in rows)], delimiter, quoting)
        name = "tab" if delimiter == "\t" else delimiter
        # A field in quotes may go on over lines.
        has_quotes = delimiter != "\t" or bool(options)
        return Input(["csv", *_CSV, f"--delimiter={name}", *options], {"log.csv": table}, 1, not has_quotes)

    return make


def _with_items(rows: list[Row]) -> Input:
    made = _delimited(",", "--items=items.csv")(rows)
    table = _table([["what", "title", "year", "kind"], *([item, "One, two", 1990, "a"] for item in _items(rows))])
    return made._replace(files={**made.files, "items.csv": table})


def _headerless(rows: list[Row]) -> Input:
    columns = ["--user-col=1", "--item-col=2", "--rating-col=3", "--time-col=4", "--no-header", "--delimiter=tab"]
    return Input(["csv", *columns], {"log.tsv": _joined(rows, "\t")})


def _dates(rows: list[Row]) -> Input:
    lines = [f"{row.user}\t{row.item}\t2014-04-07T10:{row.time % 60:02d}:09.277Z" for row in rows]
    columns = ["--user-col=1", "--item-col=2", "--time-col=3", "--no-header", "--delimiter=tab"]
    return Input(["csv", *columns], {"log.tsv": _lines(lines)})


def _utf_16(rows: list[Row]) -> Input:
    made = _delimited("\t")(rows)
    return made._replace(files={name: text.decode().encode("utf-16") for name, text in made.files.items()})


_OF_2014 = ("reviewerID", "asin", "overall", "unixReviewTime")
_OF_2023 = ("user_id", "parent_asin", "rating", "timestamp")
LAYOUTS: dict[str, Callable[[list[Row]], Input]] = {
    "u.data": _u_data,
    "ratings.dat": _ratings_dat,
    "ratings.csv": _ratings_csv,
    "yelp": _yelp,
    "amazon 2014": _amazon_json(json.dumps, _OF_2014),
    "amazon 2014, literals": _amazon_json(repr, _OF_2014),
    "amazon 2018": _amazon_json(lambda record: json.dumps({**record, "verified": True}), _OF_2014),
    "amazon 2023": _amazon_json(json.dumps, _OF_2023, 1000),
    "amazon 2014, csv": _amazon_2014_csv,
    "amazon 2018, csv": _amazon_2018_csv,
    "amazon 2023, csv": _amazon_2023_csv,
    "sequences": _sequences,
    "diffrec": _diffrec,
    "comma": _delimited(","),
    "semicolon, quotes": _delimited(";", quoting=csv.QUOTE_ALL),
    "titles": _delimited(",", "--title-col=title"),
    "items": _with_items,
    "tab": _delimited("\t"),
    "tab, quotes": _delimited("\t", "--quotes=double", quoting=csv.QUOTE_NONNUMERIC),
    "headerless": _headerless,
    "dates": _dates,
    "utf-16": _utf_16,
}


def _as_folder(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _as_file(files: dict[str, bytes], folder: Path) -> Path:
    return _as_folder(files, folder) / next(iter(files))


def _as_gzip(files: dict[str, bytes], folder: Path) -> Path:
    return _as_file({f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}, folder)


def _as_zip(files: dict[str, bytes], folder: Path) -> Path:
    with zipfile.ZipFile(folder / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"in/{name}"), content, zipfile.ZIP_DEFLATED)
    return folder / "in.zip"


def _as_tar(suffix: str, mode: str) -> Callable[[dict[str, bytes], Path], Path]:
    def make(files: dict[str, bytes], folder: Path) -> Path:
        with tarfile.open(folder / f"in.{suffix}", mode) as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                member = tarfile.TarInfo(f"in/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return folder / f"in.{suffix}"

    return make


PLAIN: dict[str, Callable[[dict[str, bytes], Path], Path]] = {
    "file": _as_file,
    "folder": _as_folder,
    "tar": _as_tar("tar", "w"),
}
# Those with a checksum of what is in them.
CHECKED: dict[str, Callable[[dict[str, bytes], Path], Path]] = {
    "gz": _as_gzip,
    "zip": _as_zip,
    "tgz": _as_tar("tgz", "w:gz"),
    "tar.bz2": _as_tar("tar.bz2", "w:bz2"),
    "tar.xz": _as_tar("tar.xz", "w:xz"),
}


def _flipped(rng: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def _filled(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice(_ODD) * rng.choice((1, 1, 1, 30)) + content[place:]


def _without_a_span(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 40) :]


def _with_swapped_columns(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    fields = re.split(rb"(\t|::|,|;| )", lines[place])
    return b"\n".join([*lines[:place], b"".join(reversed(fields)), *lines[place + 1 :]])


def _with_a_line_again(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    return b"\n".join([*lines[:place], lines[0], *lines[place:]])


def _empty(rng: random.Random, content: bytes) -> bytes:
    return rng.choice((b"", b"\n", b"\x00" * 1024, b" "))


STREAM_DAMAGE = [_flipped, _flipped, _flipped, _cut, _without_a_span]
TEXT_DAMAGE = [*STREAM_DAMAGE, _filled, _filled, _with_swapped_columns, _with_a_line_again, _empty]


class _Outcome(NamedTuple):
    status: int | None
    out: str
    err: str
    files: dict[str, bytes]


def _needs_files_beside(made: Input) -> bool:
    return "--items=items.csv" in made.arguments


def _convert(arguments: list[str], source: Path, output: Path) -> _Outcome:
    beside = next(source.parent.glob("items.csv*"), "")
    arguments = [f"--items={beside}" if argument == "--items=items.csv" else argument for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["convert", arguments[0], str(source), *arguments[1:], "--name=made", f"--output={output}"])
    files = {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    return _Outcome(status, out.getvalue(), err.getvalue(), files)


def _wrong_failure(outcome: _Outcome, before: dict[str, bytes], output: Path) -> str | None:
    lines = outcome.err.strip().splitlines()
    if outcome.status != 2:
        return f"exit status {outcome.status}"
    if len(lines) != 1 or not lines[0].startswith("error: ") or not lines[0].replace("\t", " ").isprintable():
        return f"not one line of error: {outcome.err!r}"
    if outcome.files != before or {path.name for path in output.glob("*")} - {Path(name).parts[0] for name in before}:
        return f"left behind: {sorted(map(str, output.rglob('*')))}"
    return None


def _wrong_sum(outcome: _Outcome, made: Input, text: bytes | None) -> str | None:
    """Rows are written or told, and all lines of ``text`` are rows."""
    told = dict(re.findall(r"^(\S.*?)  +(\S.*)$", outcome.out, flags=re.MULTILINE))
    read, written, *left_out = (
        int(told[key]) for key in ("rows read", "rows written", "duplicates left out", "bad lines skipped")
    )
    inter = [lines for name, lines in outcome.files.items() if name.endswith(".inter")]
    if sum(content.count(b"\n") - 1 for content in inter) != written or read != written + sum(left_out):
        return f"rows do not add up: {told}"
    if text is None or not made.is_a_row_a_line:
        return None
    encoding = "utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    lines = [line for line in io.StringIO(text.decode(encoding), newline=None).read().split("\n") if line.strip()]
    if len(lines) - made.header != read:
        return f"{len(lines)} lines, {made.header} of header, {read} rows read"
    return None


def check(seed: int, folder: Path) -> str | None:
    """Make one damaged input from ``seed`` in the empty ``folder``, convert it, and say what was wrong, or None."""
    rng = random.Random(seed)
    kind = rng.choice(list(LAYOUTS))
    made = LAYOUTS[kind](_rows(rng))
    if rng.random() < 0.3 and made.arguments[0] != "diffrec":
        made = made._replace(arguments=[*made.arguments, "--skip-bad-lines"])
    before = {}
    if rng.random() < 0.2:
        before = {"made/made.inter": b"user_id:token\titem_id:token\nu\ti\n"}
        (folder / "out" / "made").mkdir(parents=True)
        (folder / "out" / "made" / "made.inter").write_bytes(before["made/made.inter"])
        made = made._replace(arguments=[*made.arguments, "--overwrite"])
    (folder / "in").mkdir()
    try:
        if rng.random() < 0.5:
            return _check_stream(rng, made, before, folder)
        return _check_text(rng, made, before, folder)
    except Exception as error:
        return f"{kind}: {type(error).__name__}: {error}"


def _check_stream(rng: random.Random, made: Input, before: dict[str, bytes], folder: Path) -> str | None:
    """A compressed stream that is damaged is refused or has the undamaged one's data."""
    container = "gz" if _needs_files_beside(made) else rng.choice(list(CHECKED))
    path = CHECKED[container](made.files, folder / "in")
    source = path.parent if made.arguments[0] == "diffrec" and container == "gz" else path
    whole = _convert(made.arguments, source, folder / "whole")
    if whole.status != 0:
        return f"undamaged {container} {made.arguments}: {whole.err}"
    damage = rng.choice(STREAM_DAMAGE)
    path.write_bytes(damage(rng, path.read_bytes()))
    outcome = _convert(made.arguments, source, folder / "out")
    wrong = None
    if outcome.status != 0:
        wrong = _wrong_failure(outcome, before, folder / "out")
    elif outcome.files != whole.files:
        wrong = "other data than that of the undamaged stream"
    return wrong and f"{container} {damage.__name__} {made.arguments}: {wrong}"


def _check_text(rng: random.Random, made: Input, before: dict[str, bytes], folder: Path) -> str | None:
    """Damaged text, or a damaged plain tar, is refused or has rows that add up."""
    container = rng.choice(["file", "gz"] if _needs_files_beside(made) else [*PLAIN, *CHECKED])
    damage = rng.choice(TEXT_DAMAGE)
    name = rng.choice(list(made.files))
    files = {**made.files, name: damage(rng, made.files[name])}
    path = {**PLAIN, **CHECKED}[container](files, folder / "in")
    if container == "tar":
        path.write_bytes(rng.choice(STREAM_DAMAGE)(rng, path.read_bytes()))
    outcome = _convert(made.arguments, path, folder / "out")
    if outcome.status != 0:
        wrong = _wrong_failure(outcome, before, folder / "out")
    else:
        is_text = container != "tar" and made.arguments[0] != "diffrec"
        first = files[next(iter(files))]
        wrong = _wrong_sum(
            outcome, made if is_text else made._replace(is_a_row_a_line=False), first if is_text else b""
        )
    return wrong and f"{container} {damage.__name__} {made.arguments}: {wrong}"
