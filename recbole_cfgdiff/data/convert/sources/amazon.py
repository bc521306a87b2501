"""Amazon reviews of 2014 and 2018 (McAuley et al.) and of 2023 (Hou et al.), as their publishers ship them."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import (
    WHOLE,
    Interaction,
    Source,
    id_in,
    number_in,
    shown,
    stars_in,
)
from recbole_cfgdiff.data.convert.sources.delimited import delimited_interactions
from recbole_cfgdiff.data.convert.sources.input_files import Files
from recbole_cfgdiff.data.convert.sources.reading import BadLine, Reading, csv_rows, first_lines, numbered_lines, parsed
from recbole_cfgdiff.data.convert.sources.table import Layout
from recbole_cfgdiff.errors import ConfigError

VERSIONS = ("2014", "2018", "2023")

_SAMPLE = 1000
_LONGEST_LITERAL = 1 << 20  # characters; Python's parser takes a hundred times the memory
_LATEST = 1e11  # in the year 5138; milliseconds are above it from 1973 on
_PRODUCT = re.compile(r"^(B[0-9A-Z]{9}|\d{9}[\dX])$")
_REVIEWER = re.compile(r"^A[0-9A-Z]{8,}$")
_FIELDS = {
    "2014": ("reviewerID", "asin", "overall", "unixReviewTime"),
    "2023": ("user_id", "parent_asin", "rating", "timestamp"),
}
_FIELDS["2018"] = _FIELDS["2014"]


def open_amazon(path: Path, files: Files, how: Reading, version: str | None = None) -> Source:
    """Open a file of reviews or of ratings only. Times become seconds (2023's are milliseconds).

    Args:
        path: JSON lines (strict, or 2014's Python literals) or CSV; for messages.
        files: what there is.
        how: how it is read.
        version: one of ``VERSIONS``; None detects it from the content.

    Raises:
        ConfigError: if the version can't be told; on a bad line, unless they are skipped.
    """
    file = files.single("file of reviews")
    sample = first_lines(file, how, _SAMPLE)
    is_json = bool(sample) and sample[0].lstrip().startswith("{")
    if version is None and is_json:
        version = _version_of_json(sample)
    elif version is None:
        version = _version_of_csv(row for _, row in islice(csv_rows(file, how.again()), _SAMPLE))
    if version is None:
        raise ConfigError(f"{path}: can't tell whether this is Amazon 2014, 2018 or 2023; say it by --version")
    read = _json_interactions if is_json else _csv_interactions
    kind = "JSON lines" if is_json else "CSV"
    return Source(f"Amazon {version}, {kind}", {WHOLE: read(file, version, how)}, how)


def looks_like_amazon(lines: list[str]) -> bool:
    """Whether these may be the first lines of a file of Amazon reviews or ratings."""
    return (_version_of_json(lines) or _version_of_csv(line.split(",") for line in lines)) is not None


def _version_of_json(sample: list[str]) -> str | None:
    keys = Counter(key for line in sample for key in _keys_of(line))
    if keys["parent_asin"]:
        return "2023"
    if not keys["reviewerID"]:
        return None
    return "2018" if keys["verified"] else "2014"


def _keys_of(line: str) -> list[str]:
    try:
        return list(_record(line))
    except BadLine:
        return []


def _version_of_csv(rows: Iterable[list[Any]]) -> str | None:
    """2023's files have a header; 2014's begin with the user, 2018's with the item."""
    user_first = item_first = 0
    for number, row in enumerate(rows):
        if number == 0 and {"user_id", "parent_asin"} <= set(row):
            return "2023"
        if len(row) >= 4:
            user_first += _is_reviewer(row[0]) and _is_product(row[1])
            item_first += _is_product(row[0]) and _is_reviewer(row[1])
    if user_first == item_first:
        return None
    return "2014" if user_first > item_first else "2018"


def _is_product(text: str | None) -> bool:
    return bool(_PRODUCT.match(text or ""))


def _is_reviewer(text: str | None) -> bool:
    return bool(_REVIEWER.match(text or ""))


def _record(line: str) -> dict[str, Any]:
    """A line as strict JSON, or as the Python literal that 2014's older files have."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = _literal(line)
    if not isinstance(record, dict):
        raise BadLine(f"expected a JSON object, found {shown(line)}")
    return record


def _literal(line: str) -> Any:
    """What a Python literal says, None if it is none."""
    if len(line) > _LONGEST_LITERAL:
        return None
    try:
        return ast.literal_eval(line)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _json_interactions(file: TextFile, version: str, how: Reading) -> Iterator[Interaction]:
    names = _FIELDS[version]

    def parse(line: str) -> Interaction:
        record = _record(line)
        missing = [name for name in names if name not in record]
        if missing:
            raise BadLine(f"expected the key {missing[0]!r} of Amazon {version}")
        return _interaction(version, *(record[name] for name in names))

    return parsed(file, numbered_lines(file, how), parse, how)


def _csv_interactions(file: TextFile, version: str, how: Reading) -> Iterator[Interaction]:
    if version == "2023":
        return delimited_interactions(file, how, Layout(*_FIELDS["2023"], time_unit="ms"))

    def parse(fields: list[Any]) -> Interaction:
        if len(fields) < 4:
            raise BadLine(f"expected 4 columns, found {len(fields)}")
        first, second, rating, time = fields[:4]
        user, item = (second, first) if version == "2018" else (first, second)
        return _interaction(version, user, item, rating, time)

    return parsed(file, csv_rows(file, how), parse, how)


def _interaction(version: str, user: Any, item: Any, rating: Any, time: Any) -> Interaction:
    seconds = _seconds(version, time)
    return Interaction(id_in("user", user), id_in("item", item), stars_in("rating", rating), seconds)


def _seconds(version: str, time: Any) -> float:
    number = number_in("time", time)
    if version == "2023":
        return number / 1000
    if number > _LATEST:
        raise BadLine(f"expected seconds since 1970 for the time, found {time}; milliseconds are of Amazon 2023")
    return number
