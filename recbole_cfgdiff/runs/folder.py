"""The folder of a run, in which one process at a time trains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import remove_unfinished

_OF_EARLIER_VERSIONS = re.compile(r"\.(best|last)\.\d+\.pth")


@contextmanager
def run_folder(path: Path) -> Iterator[None]:
    """Have a run's folder for this process alone, without what killed processes left unfinished in it.

    It is made if it is not there, and removed if nothing was written into it. The lock goes with its process.

    Raises:
        ConfigError: if another process trains in it, or if it can't be written into.
    """
    lock = path / ".lock"
    held = FileLock(lock)
    try:
        path.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"run_name, resume: another process trains in {path}; it goes on undisturbed") from error
    except OSError as error:
        raise ConfigError(f"checkpoint_dir, run_name: can't write into {path}: {error.strerror}") from error
    try:
        _clear(path)
        yield
    finally:
        with suppress(OSError):  # a folder that is not empty stays
            _clear(path)  # an interrupt may have come where this process was to do so
            lock.unlink()
            path.rmdir()
        held.release()


def _clear(path: Path) -> None:
    remove_unfinished(path)
    for file in path.glob(".*.pth"):
        if _OF_EARLIER_VERSIONS.fullmatch(file.name):
            file.unlink()
