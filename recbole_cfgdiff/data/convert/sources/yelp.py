"""The Yelp Open Dataset: ``yelp_academic_dataset_review.json``, the archive it comes in, and its businesses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recbole_cfgdiff.data.convert.sources.archives import TextFile
from recbole_cfgdiff.data.convert.sources.base import (
    WHOLE,
    Features,
    Interaction,
    Source,
    id_in,
    seconds_of_date,
    shown,
    stars_in,
)
from recbole_cfgdiff.data.convert.sources.input_files import Files
from recbole_cfgdiff.data.convert.sources.reading import BadLine, Reading, is_text, numbered_lines, parsed
from recbole_cfgdiff.errors import ConfigError

REVIEWS = "yelp_academic_dataset_review.json"
BUSINESSES = "yelp_academic_dataset_business.json"


def open_yelp(path: Path, files: Files, how: Reading) -> Source:
    """Open the reviews file, the folder or the tar; businesses beside the reviews become items' features.

    Raises:
        ConfigError: if there are no reviews; on a bad line, unless they are skipped.
    """
    if REVIEWS not in files and len(files) != 1:
        raise ConfigError(f"{path}: expected {REVIEWS}, found {', '.join(files) or 'nothing'}")
    reviews = files[REVIEWS if REVIEWS in files else next(iter(files))]
    interactions = parsed(reviews, numbered_lines(reviews, how), _review, how)
    businesses = files.beside(reviews).get(BUSINESSES) if REVIEWS in files else None
    items = _businesses(businesses, how.again()) if businesses else None
    return Source("Yelp reviews", {WHOLE: interactions}, how, items)


def _record(line: str, *names: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine(f"expected a JSON object, found {shown(line)}") from None
    missing = [name for name in names if not isinstance(record, dict) or name not in record]
    if missing:
        raise BadLine(f"expected the key {missing[0]!r}")
    return record


def _review(line: str) -> Interaction:
    record = _record(line, "user_id", "business_id", "stars", "date")
    return Interaction(
        id_in("user_id", record["user_id"]),
        id_in("business_id", record["business_id"]),
        stars_in("stars", record["stars"]),
        _seconds(record["date"]),
    )


def _seconds(date: Any) -> float:
    """Dates have no zone; they are taken as UTC, which keeps their order and distance."""
    seconds = seconds_of_date(date) if isinstance(date, str) else None
    if seconds is None:
        raise BadLine(f"expected a date such as 2018-07-07 22:09:11, found {shown(date)}")
    return seconds


def _businesses(file: TextFile, how: Reading) -> Features:
    columns = ["item_id:token", "name:token", "city:token", "state:token", "categories:token_seq"]
    return Features(columns, parsed(file, numbered_lines(file, how), _business, how), how)


def _business(line: str) -> list[Any]:
    record = _record(line, "business_id")
    item = id_in("business_id", record["business_id"])
    name, city, state = (_text(record, key) for key in ("name", "city", "state"))
    return [item, name, city, state, _categories(record)]


def _categories(record: dict[str, Any]) -> list[str]:
    """Separated by commas; a list in rounds before 2018."""
    value = record.get("categories")
    if isinstance(value, list) and all(map(is_text, value)):
        return value
    return [part.strip() for part in _text(record, "categories").split(",")]


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key) or ""
    if not is_text(value) and value != "":
        raise BadLine(f"expected text for {key}, found {shown(value)}")
    return value
