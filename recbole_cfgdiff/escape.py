"""Text of any origin (labels, names of data sets, messages of errors, hyperparameters) in each format of a report, so
that it is shown as it is and nothing in it is taken for a command, a formula or markup."""

from __future__ import annotations

import csv
import hashlib
import html
import re
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_cfgdiff.files import write_text

_LONGEST_NAME = 100  # bytes; file systems allow 255, and names get a suffix and a mark of what is unfinished
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
_LATEX = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
# What a spreadsheet takes for a formula, and what has a mark already.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001 - the wide ones too


def one_line(text: str) -> str:
    """Text without line breaks, control characters, marks of direction and what UTF-8 can't hold."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def file_name(text: str) -> str:
    """A file's name made of any text: letters, digits, ``-``, ``_`` and ``.``, at most 100 bytes; texts that differ
    beyond that have different ones."""
    return bounded("".join(character if character.isalnum() or character in "-_." else "-" for character in text))


def bounded(name: str) -> str:
    """A file's name as it is, or a long one's beginning with a mark of the rest."""
    encoded = name.encode("utf-8", "replace")
    if len(encoded) <= _LONGEST_NAME:
        return name
    mark = hashlib.sha256(encoded).hexdigest()[:12]
    return f"{encoded[: _LONGEST_NAME - 13].decode('utf-8', 'ignore')}-{mark}"


def for_markdown(text: str) -> str:
    """For a cell or a line of GitHub's Markdown."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def markdown_code(text: str) -> str:
    """Code within a line of Markdown."""
    text = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def for_latex(text: str) -> str:
    """For running text or a cell in LaTeX."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def latex_comment(text: str) -> str:
    """A line that LaTeX passes over."""
    return f"% {one_line(text)}"


def for_html(text: str) -> str:
    """For an element or an attribute in HTML."""
    return html.escape(one_line(text))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV file. Text that a spreadsheet would take for a formula gets an apostrophe before it, which
    ``read_table`` takes away again; numbers are as they are."""
    shown = table.rename(columns=marked).apply(lambda column: column.map(marked))
    text = shown.to_csv(index=False)
    # A carriage return ends a row, too, but for Python's writer it is a character like any other.
    write_text(path, shown.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC) if "\r" in text else text)


def read_table(path: Path) -> pd.DataFrame:
    """Read what ``write_table`` wrote.

    Raises:
        OSError: if it can't be read.
        ValueError: if it is no CSV file.
    """
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    return table.rename(columns=_unmarked).apply(lambda column: column.map(_unmarked))


def marked(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula, with an apostrophe before it; any other value as it is."""
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{text}" if _FORMULA.match(text) else text


def _unmarked(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value.startswith("'") and _FORMULA.match(value) else value
