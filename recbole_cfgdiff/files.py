"""Files and folders written in one piece: a reader sees the old one or the new one, never a part of one.

What is not finished has a hidden name with the host and the process that writes it, so that the next process in that
folder can tell what is left over from one that was killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_UNFINISHED = re.compile(r"\..+\.(?P<host>[\w-]+)-(?P<process>\d+)(\.[^.]*)?")


@contextmanager
def in_one_piece(path: Path) -> Iterator[Path]:
    """A path beside ``path``, of the same suffix, to write to; the file is on disk before it takes its name, and is
    removed on an error.

    Raises:
        OSError: if it can't be written; a file of that name stays as it was.
    """
    unfinished = _unfinished(path)
    try:
        yield unfinished
        _sync(unfinished)
        os.replace(unfinished, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the name of what is unfinished, or none
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def folder_in_one_piece(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` to write into; its files are on disk before it takes its name, and it is removed on an
    error.

    Raises:
        FileExistsError: if there is a folder of that name by then, which stays as it was.
        OSError: if it can't be written.
    """
    unfinished = _unfinished(target)
    unfinished.mkdir()
    try:
        yield unfinished
        for path in [*unfinished.rglob("*"), unfinished]:
            _sync(path)
        if target.exists():  # a rename would replace an empty folder
            raise FileExistsError(f"{target}: exists already")
        try:
            unfinished.rename(target)
        except OSError as error:
            if target.exists():
                raise FileExistsError(f"{target}: exists already") from error
            raise
        _sync(target.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def remove_left_overs(folder: Path) -> None:
    """Remove what processes of this machine that are gone have left unfinished in a folder."""
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _UNFINISHED.fullmatch(path.name)
        if match and match["host"] == _host() and not _is_alive(int(match["process"])):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{_host()}-{os.getpid()}{path.suffix}")


def _host() -> str:
    return re.sub(r"[^\w-]", "_", socket.gethostname()) or "host"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, OSError):
        return True
    return True


def _sync(path: Path) -> None:
    """Have a file or folder on disk, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with in_one_piece(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write plain values."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path, most_bytes: int = 2**24) -> Any:
    """Read plain values that another program may have written.

    Raises:
        OSError: if it can't be read.
        ValueError: if it is no JSON file, or a larger one than ``most_bytes``.
    """
    if not path.is_file():
        raise ValueError("expected a file")
    if path.stat().st_size > most_bytes:
        raise ValueError(f"expected at most {most_bytes:,} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("expected no values as deep as these") from error
