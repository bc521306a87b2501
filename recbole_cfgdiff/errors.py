"""The known errors, whose message is one line for the user; ``--debug`` shows their traceback too.

Known are ConfigError, TrainingError, what the machine refuses (``describe_refusal``) and signals. RecBole checks little
of what it is given, so what it raises itself before training is taken for a mistake in the options or the data, too
(``reported_if_raised_by_recbole``). Any other exception is a bug, here or in a model of one's own, and ends in Python's
traceback.
"""

from __future__ import annotations

import difflib
import errno
import re
import sys
import traceback
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


class RecBoleFailure(ConfigError):
    """What RecBole itself raised on the options or the data, which is its cause."""


class TrainingError(RuntimeError):
    """Training could not go on. The command line exits 1."""


# How torch, whose errors are RuntimeErrors, says that there is no room for a tensor.
_NO_MEMORY = re.compile(r"can't allocate memory|out of memory|not enough memory|Storage size calculation overflowed")


def describe_refusal(error: BaseException | None) -> str | None:
    """What the machine refused, and where; None of an error that is no refusal but a bug."""
    is_torchs = isinstance(error, RuntimeError) and not isinstance(error, TrainingError)
    if isinstance(error, MemoryError) or (is_torchs and _NO_MEMORY.search(str(error))):
        return f"there is not enough memory: {error}; make sizes or batches smaller"
    if not isinstance(error, OSError) or error.errno not in _REFUSALS:
        return None
    where = error.filename or ("standard output" if error.errno in (errno.EPIPE, errno.ENOSPC) else "")
    return f"{where}: {error.strerror}" if where else str(error.strerror)


@contextmanager
def reported_as_training_error(advice: str) -> Iterator[None]:
    """Turn what the machine refuses into a TrainingError, with the advice how to go on."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        refusal = describe_refusal(error)
        if refusal is None:
            raise
        raise TrainingError(f"{refusal}; {advice}") from error


@contextmanager
def reported_if_too_large(where: str) -> Iterator[None]:
    """Turn a lack of memory into a ConfigError that says ``where``."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        refusal = describe_refusal(error)
        if refusal is None:
            raise
        raise ConfigError(f"{where}: {refusal}") from error


# Whose frames may lie between a call of RecBole and what it raises there on a mistake in the options or in the data.
_BELOW_US = {"recbole", "torch", "numpy", "scipy", "pandas", "sklearn", *sys.stdlib_module_names}


@contextmanager
def reported_if_raised_by_recbole(where: str) -> Iterator[None]:
    """Turn what RecBole itself raises, called from inside, into a RecBoleFailure that says ``where``.

    A wrong value, or data that does not fit it, fails in whatever operation of RecBole's meets it first, by any
    exception. Where code of ours, or of a model that is not RecBole's, lies between the call and what is raised, that
    code has to check the value (by a ConfigError): the exception is a bug of it, and passes as it is.
    """
    try:
        yield
    except Exception as error:
        # The first two frames are this one and the one that calls RecBole.
        frames = [(frame.f_globals.get("__name__", ""), line) for frame, line in traceback.walk_tb(error.__traceback__)]
        packages = [module.partition(".")[0] for module, _ in frames[2:]]
        if (
            isinstance(error, ConfigError)
            or describe_refusal(error) is not None
            or packages[:1] != ["recbole"]
            or not _BELOW_US.issuperset(packages)
        ):
            raise
        module, line = next(each for each in reversed(frames) if each[0].startswith("recbole."))
        raise RecBoleFailure(
            f"{where}: RecBole fails on these options or this data: {type(error).__name__}: {error} ({module}, line "
            f"{line})"
        ) from error


def nearest(name: str, names: Iterable[str], count: int = 1) -> list[str]:
    """The most similar of ``names``, whatever their case."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.65)]
