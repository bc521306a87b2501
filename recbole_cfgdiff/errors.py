"""Errors whose message is meant for the user, without a traceback."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# What a machine refuses: no room, no right, no such folder. Other errors of the system are bugs.
_REFUSALS = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "ENOMEM", "EMFILE", "ENFILE", "EPIPE", "ESTALE", "EBUSY", "ETXTBSY"),
        *("EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY", "ENAMETOOLONG", "ELOOP"),
    )
    if hasattr(errno, name)
}


class ConfigError(ValueError):
    """A mistake in the options or in the data: what was wrong, where, and what to do. The command line exits 2."""


class TrainingError(RuntimeError):
    """Training could not go on. The command line exits 1."""


def describe_refusal(error: OSError) -> str | None:
    """What the machine refused, and where; None of an error that is no refusal but a bug."""
    if error.errno not in _REFUSALS:
        return None
    where = error.filename or ("standard output" if error.errno in (errno.EPIPE, errno.ENOSPC) else "")
    return f"{where}: {error.strerror}" if where else str(error.strerror)


@contextmanager
def reported_as_training_error(advice: str) -> Iterator[None]:
    """Turn what the machine refuses into a TrainingError, with the advice how to go on."""
    try:
        yield
    except OSError as error:
        refusal = describe_refusal(error)
        if refusal is None:
            raise
        raise TrainingError(f"{refusal}; {advice}") from error


@contextmanager
def reported_as_config_error(where: str) -> Iterator[None]:
    """Turn the exceptions that RecBole and torch raise on a user's mistake into a ConfigError that says ``where``.

    Only for the stages before training, where what fails is the options or the data, and RecBole may raise anything:
    the first operation that a wrong value does not fit.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        message = str(error) if type(error) in (ValueError, LookupError) else ""
        if isinstance(error, OSError):
            message = describe_refusal(error) or ""
        raise ConfigError(f"{where}: {message or f'{type(error).__name__}: {error}'}") from error


def nearest(name: str, names: Iterable[str], count: int = 1) -> list[str]:
    """The most similar of ``names``, whatever their case."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.65)]
