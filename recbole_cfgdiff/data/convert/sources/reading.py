"""Reading a file of text line by line or row by row, and counting what is passed over."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from recbole_cfgdiff.data.convert.sources.archives import TextFile, opened, told_where
from recbole_cfgdiff.errors import ConfigError

LONGEST_LINE = 4 << 20  # characters
T = TypeVar("T")

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class NotText(ConfigError):
    """A file is not text of the encoding that it is read by."""


class BadLine(ValueError):
    """A line that is not what the source's layout says; the message tells what was expected."""


@dataclass
class Reading:
    """How files are read, and what reading them has found out so far.

    Attributes:
        skip_bad_lines: count bad lines and pass over them.
        encoding: of text; None is that of the byte order mark, else UTF-8.
        longest_line: in characters; also of a row of several lines.
        bad_lines: how many lines have been skipped.
        notes: what else is for the user to know, by what it is about.
    """

    skip_bad_lines: bool = False
    encoding: str | None = None
    longest_line: int = LONGEST_LINE
    bad_lines: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    def again(self) -> Reading:
        """For another file, or a look at the first lines: the same manner, nothing found out yet."""
        return Reading(self.skip_bad_lines, self.encoding, self.longest_line)


def check_encoding(name: str) -> None:
    """Refuse what is no encoding of text.

    Raises:
        ConfigError: naming ``--encoding``.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), name)
    except (LookupError, ValueError) as error:
        raise ConfigError(f"--encoding: expected one such as utf-8, latin-1 or utf-16-le, got {name!r}") from error


def lines_of(file: TextFile, how: Reading, otherwise: str = "utf-8") -> Iterator[str]:
    """Lines without their ends and without a byte order mark, decompressed.

    Args:
        file: what to read.
        how: its encoding, and the longest line; is told an encoding that is not UTF-8.
        otherwise: the encoding if ``how`` names none and there is no byte order mark.

    Raises:
        NotText: if the file is not text of this encoding.
        ConfigError: if it is missing, truncated or damaged, or has too long a line.
    """
    number = 0
    with told_where(file), opened(file) as stream:
        encoding = _encoding(file, how, stream.peek(4)[:4]) or otherwise
        # Strict decoding fails for a block of lines, so that it can't tell which.
        text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
        try:
            # A character more than its end may have.
            for number, line in enumerate(iter(lambda: text.readline(how.longest_line + 3), ""), start=1):
                if len(line) > how.longest_line + 2:
                    raise ConfigError(
                        f"{file}, line {number}: longer than {how.longest_line} characters; "
                        "--max-line-length allows more"
                    )
                if not is_text(line) or "\0" in line:
                    raise _not_text(file, number, encoding)
                yield (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\r\n")
        except UnicodeError as error:
            raise _not_text(file, number + 1, encoding) from error
        text.detach()  # which would close the stream otherwise


def _not_text(file: TextFile, number: int, encoding: str) -> NotText:
    hint = "--encoding=latin-1, =utf-16-le, ... says what it is"
    return NotText(f"{file}, line {number}: not {encoding} text; {hint}")


def _encoding(file: TextFile, how: Reading, beginning: bytes) -> str | None:
    """The encoding by the file itself or by the user, None if neither says it."""
    marked = next((name for mark, name in _MARKS.items() if beginning.startswith(mark)), None)
    if how.encoding and marked and not _fits(how.encoding, marked):
        raise ConfigError(f"{file}: its byte order mark says {marked}, not --encoding={how.encoding}")
    if how.encoding:
        how.notes["encoding"] = how.encoding
    elif marked and marked != "utf-8":
        how.notes["encoding"] = f"{marked}, by the byte order mark"
    return marked or how.encoding


def _fits(encoding: str, marked: str) -> bool:
    """Whether it is the same one, or leaves the order of bytes to the mark."""
    return marked.startswith(codecs.lookup(encoding).name.removesuffix("-sig"))


def numbered_lines(file: TextFile, how: Reading, otherwise: str = "utf-8") -> Iterator[tuple[int, str]]:
    """The lines that are not blank, each with its number. Arguments and errors as of ``lines_of``."""
    return ((number, line) for number, line in enumerate(lines_of(file, how, otherwise), start=1) if line.strip())


def first_lines(file: TextFile, how: Reading, count: int, otherwise: str = "utf-8") -> list[str]:
    """The first ``count`` lines that are not blank, fewer of long ones. Arguments and errors as of ``lines_of``."""
    lines = []
    room = how.longest_line
    for _, line in islice(numbered_lines(file, how.again(), otherwise), count):
        lines.append(line)
        room -= len(line)
        if room <= 0:
            break
    return lines


def split_rows(file: TextFile, how: Reading, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, split at every delimiter, each with its number. Raises as ``lines_of``."""
    return ((number, line.split(delimiter)) for number, line in numbered_lines(file, how))


def csv_rows(
    file: TextFile, how: Reading, delimiter: str = ",", are_quotes_sure: bool = False
) -> Iterator[tuple[int, list[Any]]]:
    """Rows of a CSV file that are not empty, each with the number of its last line.

    In a row with quotes that are not as CSV has them, a field that depends on how they are read is None.

    Args:
        file: what to read.
        how: as of ``lines_of``; is told how many rows have several lines.
        delimiter: one character.
        are_quotes_sure: take lines within quotes for one row also if each looks like a row.

    Raises:
        ConfigError: if the file can't be read as CSV, as with a quote that is never closed; as ``lines_of``.
    """
    lines: list[str] = []  # of the row
    is_at_end = False

    def read() -> Iterator[str]:
        nonlocal is_at_end
        size = 0
        for line in lines_of(file, how):
            size = size + len(line) + 1 if lines else len(line)
            if size > how.longest_line:
                raise csv.Error(f"a field in quotes goes on for more than {how.longest_line} characters")
            lines.append(line + "\n")
            yield line + "\n"
        is_at_end = True

    csv.field_size_limit(how.longest_line)
    # To a lenient reader a quote that is left open has all lines up to the next one, or to the end.
    reader = csv.reader(read(), delimiter=delimiter, strict=True)
    number = 0
    while True:
        try:
            row: list[Any] | None = next(reader, None)
        except csv.Error as error:
            if len(lines) != 1 or is_at_end:
                raise ConfigError(
                    f"{file}, line {number + 1}: not CSV ({error}); where quotes are characters like any other: "
                    "convert csv --quotes=none"
                ) from error
            row = _row_of_stray_quotes(lines[0], delimiter)
        if row is None:
            return
        if len(lines) > 1:
            if not are_quotes_sure and all(line.count(delimiter) == len(row) - 1 for line in lines):
                raise ConfigError(
                    f"{file}, line {number + 1}: a quote goes on over {len(lines)} lines that look like rows; "
                    "convert csv --quotes=none takes it for a character, --quotes=double for a quote"
                )
            how.notes["rows of several lines"] = how.notes.get("rows of several lines", 0) + 1
        number += len(lines)
        lines.clear()
        if row:
            yield number, row


def _row_of_stray_quotes(line: str, delimiter: str) -> list[str | None]:
    """The fields that are the same with and without quotes, None for the others."""
    quoted = next(csv.reader([line], delimiter=delimiter))
    plain = line.rstrip("\n").split(delimiter)
    if len(quoted) != len(plain):
        return [None] * len(quoted)
    return [field if text in (field, f'"{field}"') else None for field, text in zip(quoted, plain)]


def parsed(file: TextFile, lines: Iterable[tuple[int, Any]], parse: Callable[[Any], T], how: Reading) -> Iterator[T]:
    """Parse numbered lines.

    Args:
        file: for messages.
        lines: the number of each line and what ``parse`` takes.
        parse: raises BadLine.
        how: whether bad lines are skipped, and counts them.

    Raises:
        ConfigError: on a bad line that is not skipped, with its number and what was expected.
    """
    for number, line in lines:
        try:
            yield parse(line)
        except BadLine as error:
            if not how.skip_bad_lines:
                raise ConfigError(f"{file}, line {number}: {error}; --skip-bad-lines passes over such lines") from None
            how.bad_lines += 1


def is_text(value: Any) -> bool:
    """Whether ``value`` is text that UTF-8 can hold."""
    try:
        return isinstance(value, str) and (value.isascii() or bool(value.encode()))
    except UnicodeEncodeError:
        return False
