"""The command line: ``recbole-cfgdiff COMMAND``, the same by ``python -m recbole_cfgdiff``, and ``run_recbole_cfg.py``.

Each command is a module beside this one, imported when it is called: ``add_arguments`` says what it takes, ``call``
does it.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from recbole_cfgdiff import __version__
from recbole_cfgdiff.commands.arguments import Parser
from recbole_cfgdiff.compat import silence_recbole_deprecations
from recbole_cfgdiff.errors import ConfigError, TrainingError, describe_refusal
from recbole_cfgdiff.runs import interrupts

COMMANDS = {
    "run": "train and test a model by RecBole",
    "convert": "turn a data set as its publisher ships it into RecBole's atomic files",
    "compare": "train and test several models with several seeds, and report",
    "reproduce": "the paper's tables beside ours, by the same protocol",
    "sweep": "what the guidance scale does to a trained model",
    "tune": "search hyperparameters, chosen by validation",
    "recommend": "lists by a trained model, for known users and new ones",
    "export": "a trained model as a folder that needs neither RecBole nor the data set",
    "serve": "a trained model over HTTP, with a page to try it",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """``recbole-cfgdiff COMMAND ...``.

    Returns:
        the exit status: 0, 1 if training failed, 2 on a mistake in the options or in the data, 130 after Ctrl-C, 143
        after SIGTERM. What is none of these is a bug, and is raised.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    program = "python -m recbole_cfgdiff" if Path(sys.argv[0]).name == "__main__.py" else "recbole-cfgdiff"
    parser = argparse.ArgumentParser(prog=program, epilog=f"{program} COMMAND --help tells the arguments of one.")
    parser.add_argument("--version", action="version", version=f"recbole-cfgdiff {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, what in COMMANDS.items():
        commands.add_parser(name, help=what, add_help=False)
    name = parser.parse_args(given[:1]).command
    return _call(name, f"{program} {name}", given[1:])


def run_main(arguments: Sequence[str] | None = None) -> int:
    """``run_recbole_cfg.py ...``. Returns the exit status as ``main``."""
    return _call("run", "run_recbole_cfg.py", list(sys.argv[1:] if arguments is None else arguments))


def _call(name: str, program: str, arguments: list[str]) -> int:
    parser = Parser(prog=program, description=COMMANDS[name], allow_abbrev=False)
    try:
        # Imports, which take seconds, come before signals are raised: some take what is raised for a missing package.
        command = import_module(f"recbole_cfgdiff.commands.{name}")
        command.add_arguments(parser)
        parser.add_argument(
            "--debug", action="store_true", help="show the traceback of an error; a run's is in its log.txt"
        )
        known, rest = parser.parse_known_args(arguments)
        with interrupts.raised(), _threads_leave_refusals_to_the_main_one():
            _check_arguments(known)
            silence_recbole_deprecations()
            command.call(known, rest)
            sys.stdout.flush()
            return 0
    except (Exception, KeyboardInterrupt) as error:
        told = _known(error)
        if told is None:
            raise
        _keep_in_log(error)
        if "--debug" in arguments:
            traceback.print_exc()
        return _fail(*told)


def _known(error: BaseException) -> tuple[object, int] | None:
    """The message and the exit status of a known error; None of a bug."""
    if isinstance(error, ConfigError):
        return error, 2
    if isinstance(error, TrainingError):
        return error, 1
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("recbole_cfgdiff"):
        return f"{error}: this needs the package {error.name}; install it by pip", 2
    if (refusal := describe_refusal(error)) is not None:
        return refusal, 2
    if isinstance(error, interrupts.Interrupted):
        return error, error.status
    if isinstance(error, KeyboardInterrupt):  # from elsewhere than a signal
        return interrupts.Interrupted(signal.SIGINT), 130
    return None


def _keep_in_log(error: BaseException) -> None:
    """The traceback, for the file that the run logs to, if it does by then."""
    record = logging.makeLogRecord(
        {"levelname": "ERROR", "msg": "", "exc_info": (type(error), error, error.__traceback__)}
    )
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            with suppress(OSError):  # which may be the error itself
                handler.handle(record)


def _check_arguments(known: argparse.Namespace) -> None:
    for name, value in vars(known).items():
        if "\0" in str(value):
            raise ConfigError(f"--{name}: expected a value without NUL characters, got {str(value)!r}")


@contextmanager
def _threads_leave_refusals_to_the_main_one() -> Iterator[None]:
    """TensorBoard's thread hands its errors to the main one and prints a traceback beside."""

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if describe_refusal(arguments.exc_value) is None:
            before(arguments)

    before, threading.excepthook = threading.excepthook, hook
    try:
        yield
    finally:
        threading.excepthook = before


def _fail(message: object, status: int) -> int:
    line = " ".join(str(message).splitlines())
    # What a file says may be meant for the terminal.
    line = "".join(each if each.isprintable() or each == "\t" else repr(each)[1:-1] for each in line)
    with suppress(OSError):  # where standard error can't be written to, the status tells
        print("error:", line, file=sys.stderr)
    return status
