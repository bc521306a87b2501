"""Files written in one piece: a reader sees the old one or the new one, never a part of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def in_one_piece(path: Path) -> Iterator[Path]:
    """A path beside ``path``, of the same suffix, to write to; the file takes its name at the end, and is removed on an
    error."""
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with in_one_piece(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write plain values."""
    write_text(path, json.dumps(content, indent=1) + "\n")
