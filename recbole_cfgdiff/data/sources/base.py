"""What all sources share: reading lines of plain, compressed or archived files, and the shape of what they yield."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import math
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Callable, NamedTuple

from tqdm import tqdm

from recbole_cfgdiff.errors import ConfigError

WHOLE = ""

# What reading a damaged, encrypted or oddly compressed file raises.
UNREADABLE = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    RuntimeError,
    NotImplementedError,
)


class BadLine(ValueError):
    """A line that is not what the source's layout says; the message tells what was expected."""


class Interaction(NamedTuple):
    """A user's interaction with an item; the time in seconds since 1970, UTC."""

    user: str
    item: str
    rating: float | None = None
    time: float | None = None


class Features(NamedTuple):
    """Columns (``name:type`` as in atomic files) and rows of a ``.user`` or ``.item`` file, the id first; a list in the
    columns of type token_seq."""

    columns: list[str]
    rows: Iterable[list[Any]]


@dataclass
class Source:
    """An opened source.

    Attributes:
        description: what was found, for the user.
        parts: the interactions, one for every good line, by the names of the parts of a given split, to be read one
            part after another; or, as they are, under the name of ``WHOLE``.
        items: features of items, or None.
        users: features of users, or None.
        bad_lines: how many lines have been skipped so far; grows as they are read.
        time_field: what the times are: ``timestamp`` (seconds since 1970) or ``position`` (the place in time order).
    """

    description: str
    parts: dict[str, Iterator[Interaction]]
    items: Features | None = None
    users: Features | None = None
    bad_lines: list[int] = field(default_factory=lambda: [0])
    time_field: str = "timestamp"


class TextFile(NamedTuple):
    """A file, or a member of an archive, to be read line by line.

    Attributes:
        path: the file on disk.
        member: name of the member, or None for the file itself.
    """

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)


def lines_of(file: TextFile, encoding: str = "utf-8") -> Iterator[str]:
    """Lines without their ends, decompressed, with a progress bar over the bytes on disk.

    Raises:
        ConfigError: if the file is missing, truncated or not text of this encoding.
    """
    number = 0
    try:
        with (
            file.path.open("rb") as raw,
            tqdm.wrapattr(raw, "read", total=file.path.stat().st_size, desc=file.path.name, disable=None) as counted,
        ):
            for line in io.TextIOWrapper(_open(counted, file), encoding=encoding, newline=""):
                number += 1
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}, line {number + 1}: not {encoding} text ({error.reason})") from error
    except (*UNREADABLE, gzip.BadGzipFile) as error:
        raise ConfigError(f"{file}: truncated or damaged after line {number} ({error})") from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error


def _open(raw: Any, file: TextFile) -> Any:
    if file.member is None:
        return gzip.GzipFile(fileobj=raw) if file.path.suffix == ".gz" else raw
    if zipfile.is_zipfile(file.path):
        return zipfile.ZipFile(raw).open(file.member)
    archive = tarfile.open(fileobj=raw, mode="r:*")  # noqa: SIM115, read until `raw` is closed
    for member in archive:
        if member.name == file.member:
            stream = archive.extractfile(member)
            if stream is not None:
                return stream
    raise ConfigError(f"{file}: there is no such member")


def find_files(path: Path) -> dict[str, TextFile]:
    """The files of a folder or of an archive by name, or of a file's folder; ``.gz`` left off the names.

    Raises:
        ConfigError: if there is nothing at ``path``, or if an archive is damaged or has members outside of itself.
    """
    if path.is_dir():
        return {_without_gz(child.name): TextFile(child) for child in sorted(path.rglob("*")) if child.is_file()}
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file or folder")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = [member.filename for member in archive.infolist() if not member.is_dir()]
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive_:
                names = [member.name for member in archive_ if member.isfile()]
        else:
            return {_without_gz(path.name): TextFile(path)}
    except UNREADABLE as error:
        raise ConfigError(f"{path}: truncated or damaged archive ({error})") from error
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ConfigError(f"{path}: refused, its member {name} points outside of the archive")
    return {PurePosixPath(name).name: TextFile(path, name) for name in names}


def _without_gz(name: str) -> str:
    return name[:-3] if name.endswith(".gz") else name


def csv_rows(file: TextFile, encoding: str = "utf-8", delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file that are not empty, each with the number of its last line.

    Raises:
        ConfigError: if the file can't be read as CSV, as with a quote that is never closed.
    """
    reader = csv.reader((line + "\n" for line in lines_of(file, encoding)), delimiter=delimiter)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(f"{file}, line {reader.line_num}: not CSV ({error})") from error


def parsed(
    file: TextFile,
    lines: Iterable[tuple[int, object]],
    parse: Callable[[object], Interaction],
    bad_lines: list[int] | None,
) -> Iterator[Interaction]:
    """Parse numbered lines.

    Args:
        file: for messages.
        lines: the number of each line and what ``parse`` takes.
        parse: raises BadLine.
        bad_lines: counts bad lines, which are then skipped; None makes the first one an error.

    Raises:
        ConfigError: on a bad line that is not skipped, with its number and what was expected.
    """
    for number, line in lines:
        try:
            yield parse(line)
        except BadLine as error:
            if bad_lines is None:
                raise ConfigError(f"{file}, line {number}: {error}; --skip-bad-lines passes over such lines") from None
            bad_lines[0] += 1


def id_in(name: str, value: Any) -> str:
    """``value`` as an id: text, or a whole number.

    Raises:
        BadLine: if it is empty, of another kind, or text that no file can hold (half of a surrogate pair in JSON).
    """
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not text or not is_text(text):
        raise BadLine(f"expected an id for the {name}, found {value!r}")
    return text


def is_text(value: Any) -> bool:
    """Whether ``value`` is text that UTF-8 can hold."""
    try:
        return isinstance(value, str) and (value.isascii() or bool(value.encode()))
    except UnicodeEncodeError:
        return False


def number_in(name: str, text: Any) -> float:
    """``text`` as a finite number.

    Raises:
        BadLine: if it is none.
    """
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    # float() also takes True and 1_000.
    if not math.isfinite(value) or isinstance(text, bool) or "_" in str(text):
        raise BadLine(f"expected a number for the {name}, found {text!r}")
    return value
