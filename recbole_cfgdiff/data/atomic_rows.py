"""The rows of an atomic file as columns, checked on the way, a block of lines at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import pandas as pd

from recbole_cfgdiff.data.convert.tokens import MISSING
from recbole_cfgdiff.errors import ConfigError

LONGEST_LINE = 1 << 24
LONGEST_ID = 1000  # RecBole holds ids in an array in which each has the room of the longest
_LARGEST = float(np.finfo(np.float32).max)  # RecBole's numbers
_EXACT_DIGITS = 15  # float64 has so many of each number, however it is rounded
_BLOCK = 1 << 20

SEPARATORS = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar", " ": "a space", "::": "'::'"}


class Texts(NamedTuple):
    """A column of text.

    Attributes:
        words: each text once. Those of ``MISSING`` are missing values.
        codes: of each row its place in ``words``, int32, shape ``(rows,)``.
    """

    words: list[str]
    codes: np.ndarray


# Numbers are float64, shape (rows,), NaN where one is missing.
Column = Texts | np.ndarray
_Problem = tuple[int, str] | None  # the row of a block, and what is wrong with it


class Layout(NamedTuple):
    """What the rows of a file are to have.

    Attributes:
        path: of the file, for messages.
        separator: of the fields.
        names: of the columns, in their order.
        columns: the ones that are loaded, by their places in ``names``.
        is_part: whether RecBole filters none of the rows.
    """

    path: Path
    separator: str
    names: list[str]
    columns: dict[int, TextColumn | NumberColumn]
    is_part: bool


class TextColumn:
    """A column of text that grows.

    Args:
        problem: of a text, what is wrong with it, or None.
    """

    def __init__(self, problem: Callable[[str], str | None] | None = None) -> None:
        self._problem = problem
        self._places = _Places()
        self._codes: list[np.ndarray] = []

    def add(self, texts: Sequence[str | None]) -> _Problem:
        """Add rows, those without a field as None; the first that is wrong."""
        n_known = len(self._places.words)
        self._codes.append(np.fromiter(map(self._places.__getitem__, texts), np.int32, len(texts)))
        for word in self._places.words[n_known:] if self._problem else ():
            if word is not None and (problem := self._problem(word)):  # type: ignore[misc]
                return texts.index(word), problem
        return None

    @property
    def n_words(self) -> int:
        """How many different texts there are."""
        return len(self._places) - (None in self._places)

    def column(self) -> Texts:
        return Texts([word or "" for word in self._places.words], np.concatenate([np.empty(0, np.int32), *self._codes]))


class _Places(dict):
    """Of each word its place among all, in the order in which they came."""

    def __init__(self) -> None:
        self.words: list[str | None] = []

    def __missing__(self, word: str | None) -> int:
        self[word] = place = len(self.words)
        self.words.append(word)
        return place


class NumberColumn:
    """A column of numbers that grows.

    Args:
        name: of the column.
        is_needed: whether each row must have one.
    """

    def __init__(self, name: str, is_needed: bool) -> None:
        self._name, self._is_needed = name, is_needed
        self._numbers: list[np.ndarray] = []

    def add(self, texts: Sequence[str | None]) -> _Problem:
        """As of a ``TextColumn``."""
        there = np.ones(len(texts), bool)
        for row, text in enumerate(() if _all_are_numbers(texts) else texts):
            if text is None or (text in MISSING and not self._is_needed):
                there[row] = False
            elif text in MISSING or not is_number(text):
                return row, f"expected a number for {self._name}, found {cut(text)}"
        numbers = np.full(len(texts), np.nan)
        numbers[there] = _as_pandas_reads(np.array(texts, dtype=object)[there])
        self._numbers.append(numbers)
        return None

    def column(self) -> np.ndarray:
        return np.concatenate([np.empty(0), *self._numbers])


def _all_are_numbers(texts: Sequence[str | None]) -> bool:
    try:
        numbers = np.fromiter(map(float, texts), np.float64, len(texts))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False
    return bool((np.abs(numbers) <= _LARGEST).all())


def _as_pandas_reads(texts: np.ndarray) -> np.ndarray:
    """To the bit: RecBole's numbers are those of ``pandas.read_csv``, which rounds long ones and those with an exponent
    in its own way, and is slower than Python."""
    if max(map(len, texts), default=0) > _EXACT_DIGITS or "e" in "".join(texts).lower():
        try:
            return np.asarray(pd.to_numeric(texts), dtype=float)
        except (ValueError, TypeError):  # such as 1_0
            pass
    return texts.astype(float)


def is_number(text: str) -> bool:
    """Whether RecBole reads it as one that float32 holds."""
    try:
        return abs(float(text)) <= _LARGEST  # not so for NaN
    except ValueError:
        return False


def problem_of_id(column: str, text: str) -> str | None:
    """What is wrong with a text as an id."""
    if text in MISSING:
        found = f"{text!r}, which RecBole takes for none" if text else "nothing"
        return f"expected an id for {column}, found {found}"
    if len(text) > LONGEST_ID:
        return f"expected an id of at most {LONGEST_ID} characters for {column}, found more"
    return None


def problem_of_numbers(column: str, separator: str, text: str) -> str | None:
    """What is wrong with a text as a sequence of numbers."""
    if text in MISSING or all(map(is_number, filter(None, text.split(separator)))):
        return None
    return f"expected numbers for {column}, found {cut(text)}"


def header_line(file: TextIO, path: Path) -> str:
    """The first line of a file.

    Raises:
        ConfigError: if it can't be one of text.
    """
    line = file.readline(LONGEST_LINE + 1)
    _check_no_nul(line, path, 1)
    _check_length(line, path, 1)
    return line


def add_rows(file: TextIO, layout: Layout) -> int:
    """Add the lines of a file below its header to the columns of a layout.

    Args:
        file: behind the header.
        layout: what they are to have.

    Returns:
        how many rows there are. Those without any field are not counted; the columns have them as missing, as RecBole
        reads them.

    Raises:
        ConfigError: on the first line that is wrong.
        UnicodeError: if the file is of another encoding.
    """
    n_rows = 0
    for first_line, n_lines, text in _blocks(file, layout.path):
        rows = _plain_rows(text, layout, n_lines) or _rows(text, layout, first_line, n_lines)
        n_rows += rows.n_rows
        problems = [column.add(texts) for column, texts in zip(layout.columns.values(), rows.columns)]
        found = [(rows.lines[row], told) for row, told in filter(None, problems)]
        if found or rows.wrong:
            row, told = min([*found, *filter(None, [rows.wrong])], key=itemgetter(0))
            raise malformed(layout.path, first_line + row, told)
    return n_rows


class _Rows(NamedTuple):
    """The rows of a block.

    Attributes:
        columns: texts of those that are loaded.
        lines: of each row, which line of the block it is.
        n_rows: how many rows have a field.
        wrong: the line behind them that is wrong.
    """

    columns: list[list]
    lines: Sequence[int]
    n_rows: int
    wrong: _Problem = None


def _plain_rows(text: str, layout: Layout, n_lines: int) -> _Rows | None:
    """Of lines without quotes, each with a field for each column, by one split, which is several times as fast; None
    where there are others."""
    separator, width = layout.separator, len(layout.names)
    blank = separator * (width - 1)
    is_plain = len(separator) == 1 and separator.isascii() and width > 1 and text.endswith("\n")
    if not is_plain or '"' in text or "\r" in text or text.startswith(f"{blank}\n") or f"\n{blank}\n" in text:
        return None
    octets = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    ends = octets[(octets == ord(separator)) | (octets == ord("\n"))] == ord("\n")
    if len(ends) != width * n_lines or not ends[width - 1 :: width].all():
        return None
    fields = text.replace("\n", separator).split(separator)
    return _Rows([fields[index:-1:width] for index in layout.columns], range(n_lines), n_lines)


def _rows(text: str, layout: Layout, first_line: int, n_lines: int) -> _Rows:
    rows, wrong = _split(text, layout.separator, first_line, n_lines)
    even, lines, uneven = _made_even(rows, layout)
    columns = [list(map(itemgetter(index), even)) for index in layout.columns]
    return _Rows(columns, lines, sum(row[0] is not None for row in even), uneven or wrong)


def _blocks(file: TextIO, path: Path) -> Iterator[tuple[int, int, str]]:
    """Some whole lines at a time: the number of the first, how many there are, and their text."""
    number, rest, is_end = 2, "", False
    while not is_end:
        text = file.read(_BLOCK)
        is_end = not text
        rest += text
        _check_length(rest, path, number)
        # A carriage return at the end may be the first half of a line's end.
        end = len(rest) if is_end else max(rest.rfind("\n"), rest.rfind("\r", 0, -1)) + 1
        block, rest = rest[:end], rest[end:]
        _check_no_nul(block, path, number)
        n_lines = _line_ends(block) + (is_end and block[-1:] not in ("\n", "\r", ""))
        if block:
            yield number, n_lines, block
        number += n_lines


def _check_no_nul(text: str, path: Path, first_line: int) -> None:
    if (place := text.find("\0")) >= 0:
        line = first_line + _line_ends(text[:place])
        raise malformed(path, line, "found a NUL byte: the file is damaged, or in another encoding (encoding)")


def _check_length(text: str, path: Path, number: int) -> None:
    """Check the first line of a text."""
    if len(text) > LONGEST_LINE and len(io.StringIO(text, newline="").readline()) > LONGEST_LINE:
        raise malformed(path, number, f"expected a line of at most {LONGEST_LINE:,} characters, found more")


def _line_ends(text: str) -> int:
    return text.count("\n") + (text.count("\r") - text.count("\r\n") if "\r" in text else 0)


def _split(text: str, separator: str, first_line: int, n_lines: int) -> tuple[list[list[str]], _Problem]:
    """The fields of lines, quoted ones as pandas reads them, up to a quote that is wrong. pandas knows no quotes for
    longer separators, and strips the lines."""
    lines = io.StringIO(text, newline="")
    if len(separator) > 1:
        return [line.strip().split(separator) for line in lines], None
    csv.field_size_limit(LONGEST_LINE)
    rows: list[list[str]] = []
    wrong: _Problem = None
    try:
        rows.extend(csv.reader(lines, delimiter=separator, strict=True))  # which keeps those before an error
    except csv.Error as error:
        wrong = len(rows), _bad_quote(str(error))
    if wrong or len(rows) != n_lines:
        for number, fields in enumerate(rows):
            if n_ends := sum(map(_line_ends, fields)):
                told = _bad_quote(f"the field goes on to line {first_line + number + n_ends}")
                return rows[:number], (number, told)
    return rows, wrong


def _bad_quote(problem: str) -> str:
    if "limit" in problem:
        return f"{problem}, characters"
    return (
        'expected fields without quotes, or quoted as "a ""b"" c" on one line, found a quote at the start of a field '
        f"that does not end so ({problem}); `convert csv` writes a file without"
    )


def _made_even(rows: list[list[str]], layout: Layout) -> tuple[list[list], list[int], _Problem]:
    """Rows with a field for each column, up to one with too many or too few, and which they were: lines that RecBole
    passes over are left out, missing fields that are not loaded are empty, and all are None where none has a text."""
    even: list[list] = []
    lines: list[int] = []
    width, last = len(layout.names), max(layout.columns, default=0)
    for number, fields in enumerate(rows):
        if len(fields) < 2 and not "".join(fields).strip():
            continue
        is_blank = not any(fields) and not layout.is_part
        if len(fields) > width or (len(fields) <= last and not is_blank):
            return even, lines, (number, _wrong_number_of_fields(len(fields), layout))
        even.append([None] * width if is_blank else fields + [""] * (width - len(fields)))
        lines.append(number)
    return even, lines, None


def _wrong_number_of_fields(found: int, layout: Layout) -> str:
    problem = f"expected {len(layout.names)} fields, found {found}"
    if found > 1:
        return problem
    separator = SEPARATORS.get(layout.separator, repr(layout.separator))
    return f"{problem}; they are to be separated by {separator} (field_separator)"


def cut(text: str) -> str:
    """A text as messages have it."""
    return repr(text if len(text) <= 80 else f"{text[:80]}...")


def malformed(path: Path, line: int, problem: str) -> ConfigError:
    return ConfigError(f"{path}, line {line}: {problem}")
