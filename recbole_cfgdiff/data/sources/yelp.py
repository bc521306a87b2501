"""The Yelp Open Dataset: ``yelp_academic_dataset_review.json``, the archive it comes in, and its businesses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from recbole_cfgdiff.data.sources.base import (
    WHOLE,
    BadLine,
    Features,
    Interaction,
    Source,
    TextFile,
    files_beside,
    find_files,
    id_in,
    is_text,
    number_in,
    numbered_lines,
    parsed,
)
from recbole_cfgdiff.errors import ConfigError

REVIEWS = "yelp_academic_dataset_review.json"
BUSINESSES = "yelp_academic_dataset_business.json"


def open_yelp(path: Path, skip_bad_lines: bool) -> Source:
    """Open the reviews file, the folder or the tar; businesses beside the reviews become items' features.

    Raises:
        ConfigError: if there are no reviews; on a bad line, unless they are skipped.
    """
    files: Mapping[str, TextFile] = find_files(path)
    if path.is_file() and path.name.startswith(REVIEWS):
        files = {**files_beside(path), REVIEWS: TextFile(path)}
    reviews = files.get(REVIEWS) or (next(iter(files.values())) if len(files) == 1 else None)
    if reviews is None:
        raise ConfigError(f"{path}: expected {REVIEWS}, found {', '.join(files) or 'nothing'}")
    bad_lines = [0]
    interactions = parsed(reviews, numbered_lines(reviews), _review, bad_lines if skip_bad_lines else None)
    return Source("Yelp reviews", {WHOLE: interactions}, _businesses(files.get(BUSINESSES)), bad_lines=bad_lines)


def _record(line: str, *names: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine(f"expected a JSON object, found {line[:80]!r}") from None
    missing = [name for name in names if not isinstance(record, dict) or name not in record]
    if missing:
        raise BadLine(f"expected the key {missing[0]!r}")
    return record


def _review(line: str) -> Interaction:
    record = _record(line, "user_id", "business_id", "stars", "date")
    return Interaction(
        id_in("user_id", record["user_id"]),
        id_in("business_id", record["business_id"]),
        number_in("stars", record["stars"]),
        _seconds(record["date"]),
    )


def _seconds(date: str) -> float:
    """Dates have no zone; they are taken as UTC, which keeps their order and distance."""
    try:
        parsed_date = datetime.fromisoformat(date)
        return (parsed_date if parsed_date.tzinfo else parsed_date.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError):
        raise BadLine(f"expected a date such as 2018-07-07 22:09:11, found {date!r}") from None


def _businesses(file: TextFile | None) -> Features | None:
    if file is None:
        return None
    columns = ["item_id:token", "name:token", "city:token", "state:token", "categories:token_seq"]
    return Features(columns, _business_rows(file))


def _business_rows(file: TextFile) -> Iterator[list[Any]]:
    for number, line in numbered_lines(file):
        try:
            record = _record(line, "business_id")
            item = id_in("business_id", record["business_id"])
            name, city, state, categories = (_text(record, key) for key in ("name", "city", "state", "categories"))
        except BadLine as error:
            raise ConfigError(f"{file}, line {number}: {error}") from None
        yield [item, name, city, state, [part.strip() for part in categories.split(",")]]


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key) or ""
    if not is_text(value) and value != "":
        raise BadLine(f"expected text for {key}, found {value!r}")
    return value
