"""Files and folders written in one piece: a reader sees the old one or the new one, never a part of one.

What is not finished has a hidden name with the host and the process that writes it, so that the next process in that
folder can tell what is left over from one that was killed.
"""

from __future__ import annotations

import errno
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
        OSError: if it can't be written, with ``path`` in it; a file of that name stays as it was.
    """
    unfinished = _unfinished(path)
    with errors_name(path):
        try:
            yield unfinished
            _sync(unfinished)
            os.replace(unfinished, path)
            _sync(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Have errors of the system name what the user knows: some name no file, others an unfinished one."""
    try:
        yield
    except OSError as error:
        names_another = error.filename and not any(map(_UNFINISHED.fullmatch, Path(str(error.filename)).parts))
        if error.errno is None or names_another:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def folder_in_one_piece(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` to write into; its files are on disk before it takes its name, and it is removed on an
    error.

    Raises:
        FileExistsError: if there is a folder of that name by then, which stays as it was.
        OSError: if it can't be written, with ``target`` in it.
    """
    unfinished = _unfinished(target)
    with errors_name(target):
        remove(unfinished)  # of a process that was killed and had this one's number
        unfinished.mkdir()
        try:
            yield unfinished
            for path in [*unfinished.rglob("*"), unfinished]:
                _sync(path)
            _rename_to_new(unfinished, target)
            _sync(target.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _rename_to_new(folder: Path, target: Path) -> None:
    if target.exists():  # a rename would replace an empty folder
        raise FileExistsError(errno.EEXIST, "exists already", str(target))
    try:
        folder.rename(target)
    except OSError as error:
        if target.exists():
            raise FileExistsError(errno.EEXIST, "exists already", str(target)) from error
        raise


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A hidden folder beside a path, for what is removed at the end.

    Raises:
        OSError: if it can't be made.
    """
    folder = _unfinished(beside)
    remove(folder)  # as above
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_overs(folder: Path) -> None:
    """Remove what processes of this machine that are gone have left unfinished in a folder."""
    for path, match in _all_unfinished(folder):
        if match["host"] == _host() and not _is_alive(int(match["process"])):
            remove(path)


def remove_unfinished(folder: Path) -> None:
    """Remove whatever is unfinished in a folder in which no other process works."""
    for path, _ in _all_unfinished(folder):
        remove(path)


def _all_unfinished(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    paths = list(folder.iterdir()) if folder.is_dir() else []
    return [(path, match) for path in paths if (match := _UNFINISHED.fullmatch(path.name))]


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
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
