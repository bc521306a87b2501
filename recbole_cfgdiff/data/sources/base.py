"""What all sources share: reading lines of plain, compressed or archived files, and the shape of what they yield."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import lzma
import math
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Callable, NamedTuple, TypeVar

from tqdm import tqdm

from recbole_cfgdiff.errors import ConfigError

WHOLE = ""
T = TypeVar("T")

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


class NotText(ConfigError):
    """A file is not text of the encoding that it is read by."""


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
    """Lines without their ends and without a byte order mark, decompressed, with a progress bar over the bytes on disk.

    Raises:
        NotText: if the file is not text of this encoding.
        ConfigError: if it is missing, truncated or damaged.
    """
    byte_order_mark = codecs.BOM_UTF8.decode(encoding)
    number = 0
    try:
        with (
            file.path.open("rb") as raw,
            tqdm.wrapattr(raw, "read", total=file.path.stat().st_size, desc=file.path.name, disable=None) as counted,
        ):
            # Strict decoding fails for a block of lines, so that it can't tell which.
            text = io.TextIOWrapper(_open(counted, file), encoding=encoding, errors="surrogateescape", newline="")
            for number, line in enumerate(text, start=1):
                if not is_text(line):
                    raise NotText(f"{file}, line {number}: not {encoding} text")
                yield (line.removeprefix(byte_order_mark) if number == 1 else line).rstrip("\r\n")
    except (*UNREADABLE, gzip.BadGzipFile) as error:
        raise ConfigError(f"{file}: truncated or damaged after line {number} ({error})") from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error


def numbered_lines(file: TextFile, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """The lines that are not blank, each with its number. Raises as ``lines_of``."""
    return ((number, line) for number, line in enumerate(lines_of(file, encoding), start=1) if line.strip())


def content_of(file: TextFile) -> bytes:
    """All of it, decompressed. Raises what reading a file and ``UNREADABLE`` name."""
    with file.path.open("rb") as raw:
        return _open(raw, file).read()


def _open(raw: Any, file: TextFile) -> Any:
    stream = raw if file.member is None else _open_member(raw, file)
    return gzip.GzipFile(fileobj=stream) if (file.member or file.path.name).endswith(".gz") else stream


def _open_member(raw: Any, file: TextFile) -> Any:
    if zipfile.is_zipfile(file.path):
        return zipfile.ZipFile(raw).open(str(file.member))
    archive = tarfile.open(fileobj=raw, mode="r:*")  # noqa: SIM115, read until `raw` is closed
    for member in archive:
        if member.name == file.member:
            stream = archive.extractfile(member)
            if stream is not None:
                return stream
    raise ConfigError(f"{file}: there is no such member")


class Files(Mapping[str, TextFile]):
    """Files by name, ``.gz`` left off; of a file and its compressed copy beside it the one that is given first.

    Args:
        path: where they are, for messages.
        files: what there is.

    Raises:
        ConfigError: on taking a file of a name that several have.
    """

    def __init__(self, path: Path, files: Iterable[TextFile]) -> None:
        self._path = path
        self._by_name: dict[str, dict[PurePath, TextFile]] = {}
        for file in files:
            where = PurePath(file.member or file.path)
            self._by_name.setdefault(where.name.removesuffix(".gz"), {}).setdefault(where.parent, file)

    def __getitem__(self, name: str) -> TextFile:
        first, *others = self._by_name[name].values()
        if others:
            raise ConfigError(
                f"{self._path}: has both {first} and {others[0]}; give the folder or the file of one data set"
            )
        return first

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)


def find_files(path: Path) -> Files:
    """The files of a folder or of an archive, or the file itself; without those that systems hide.

    Raises:
        ConfigError: if there is nothing at ``path``, or if an archive is damaged or has members outside of itself.
    """
    if path.is_dir():
        children = (child for child in sorted(path.rglob("*")) if child.is_file())
        return Files(path, (TextFile(child) for child in children if not _is_hidden(child.relative_to(path))))
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file or folder")
    members = _members(path)
    if members is None:
        return Files(path, [TextFile(path)])
    for name in members:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ConfigError(f"{path}: refused, its member {name} points outside of the archive")
    return Files(path, (TextFile(path, name) for name in sorted(members) if not _is_hidden(PurePosixPath(name))))


def files_beside(path: Path) -> Files:
    """A file and those in its folder."""
    others = (child for child in sorted(path.parent.iterdir()) if child.is_file())
    return Files(path.parent, map(TextFile, [path, *others]))


def single_file(path: Path, what: str) -> TextFile:
    """The only file at ``path``.

    Raises:
        ConfigError: if there are several, or none; as ``find_files``.
    """
    files = find_files(path)
    if len(files) != 1:
        raise ConfigError(f"{path}: expected one {what}, found {', '.join(files) or 'none'}")
    return next(iter(files.values()))


def _members(path: Path) -> list[str] | None:
    """Names of the files in an archive, None if it is none."""
    try:
        if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return [member.filename for member in archive.infolist() if not member.is_dir()]
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive_:
                return [member.name for member in archive_ if member.isfile()]
    except UNREADABLE as error:
        raise ConfigError(f"{path}: truncated or damaged archive ({error})") from error
    return None


def _is_hidden(path: PurePath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def csv_rows(file: TextFile, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV file that are not empty, each with the number of its last line.

    Raises:
        ConfigError: if the file can't be read as CSV, as with a quote that is never closed.
    """
    lines_of_row: list[str] = []

    def read() -> Iterator[str]:
        for line in lines_of(file):
            lines_of_row.append(line + "\n")
            yield line + "\n"

    reader = csv.reader(read(), delimiter=delimiter)
    begin = 1
    try:
        for row in reader:
            if len(lines_of_row) > 1:
                # To the lenient reader a quote that is left open has all lines up to the next one, or to the end.
                list(csv.reader(lines_of_row, delimiter=delimiter, strict=True))
            if row:
                yield reader.line_num, row
            begin = reader.line_num + 1
            lines_of_row.clear()
    except csv.Error as error:
        raise ConfigError(f"{file}, line {begin}: not CSV ({error})") from error


def parsed(
    file: TextFile,
    lines: Iterable[tuple[int, Any]],
    parse: Callable[[Any], T],
    bad_lines: list[int] | None,
) -> Iterator[T]:
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
