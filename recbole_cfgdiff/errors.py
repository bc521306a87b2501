"""Errors whose message is meant for the user, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class ConfigError(ValueError):
    """A mistake in the options or in the data: what was wrong, where, and what to do. The command line exits 2."""


class TrainingError(RuntimeError):
    """Training could not go on. The command line exits 1."""


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
        raise ConfigError(f"{where}: {message or f'{type(error).__name__}: {error}'}") from error


def nearest(name: str, names: Iterable[str], count: int = 1) -> list[str]:
    """The most similar of ``names``, whatever their case."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.65)]
