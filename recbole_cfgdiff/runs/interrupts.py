"""Ctrl-C, SIGTERM and SIGHUP: one message and an exit status, and nothing unfinished left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_PATIENCE = 0.5  # seconds until it is looked whether an interrupt got lost
_Handler = Callable[[int, "FrameType | None"], Any]


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end; it passes through everything that Ctrl-C passes through.

    Attributes:
        status: the exit status that tells so, 130 of Ctrl-C, 143 of SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number

    def __str__(self) -> str:
        name = "interrupted" if self.status == 128 + signal.SIGINT else f"ended by {self.args[0]}"
        return f"{name}; a run continues with --resume=RUN_FOLDER, an experiment by the same command"


def end_at_once() -> None:
    """From now on, a signal ends this process at once, with the message: for its start, which is all imports. Some of
    them take an exception that comes in between for a package that is missing."""
    _handle(lambda number, _: _end(Interrupted(number)))


@contextmanager
def raised() -> Iterator[None]:
    """Meanwhile, signals raise ``Interrupted`` in the main thread; from another thread, nothing changes."""
    got: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        got.append(number)
        _raise(number)

    before, hook = _handle(handle), sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Interrupted) else hook(lost)
    try:
        yield
    except KeyboardInterrupt as error:
        if isinstance(error, Interrupted) or not got:
            raise
        # Ray, waiting in C++, takes what a handler raises for Ctrl-C and raises a KeyboardInterrupt of its own.
        raise Interrupted(got[-1]) from error
    finally:
        sys.unraisablehook = hook
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(handler: _Handler) -> dict[int, Any]:
    """Handle the signals that are not ignored, as they are under ``nohup``; the handlers of before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heeded}


def _raise(number: int) -> None:
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: _raise_if_lost(number))
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)
    raise Interrupted(number)


def _raise_if_lost(number: int) -> None:
    """Raise again unless what was raised is still on its way: a destructor or a bare ``except`` that it met, as there
    are in RecBole and torch, ended it there."""
    handled = sys.exc_info()[1]
    while handled is not None and not isinstance(handled, Interrupted):
        handled = handled.__context__
    if handled is None:
        raise Interrupted(number)


def _end(interrupted: Interrupted) -> None:
    os.write(2, f"error: {interrupted}\n".encode())
    os._exit(interrupted.status)
