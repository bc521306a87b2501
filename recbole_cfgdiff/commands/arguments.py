"""What the commands share: options in one style, and RecBole's ``--key=value`` beside them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_cfgdiff.errors import ConfigError, nearest


class _Once(argparse.Action):
    """Stores a value; two of them are the error that they are in ``parse_options``."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        before = parser.given.setdefault(self.dest, values)
        if str(before) != str(values):  # nan is not itself
            raise ConfigError(f"{option_string} is given twice: {before} and {values}")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """Options of a command have hyphens, as ``--max-evals``; with underscores, as RecBole writes its keys, they are
    taken too, and not shown.

    Attributes:
        given: values by name of what was given.
    """

    def __init__(self, **settings: Any) -> None:
        self.given: dict[str, Any] = {}
        super().__init__(**settings)
        self.register("action", None, _Once)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's.

        Raises:
            ConfigError: on two values for an option, or one for an option that takes none.
        """
        flags = {name for action in self._actions if action.nargs == 0 for name in action.option_strings}
        for name, equals, _ in (argument.partition("=") for argument in args):
            if equals and name in flags:
                raise ConfigError(f"{name} takes no value; write {name} alone, or leave it out")
        return super().parse_known_args(args, namespace)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        action = super().add_argument(*names, **settings)
        hidden = {**settings, "dest": action.dest, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
        for name in names:
            if "-" in name[2:]:
                super().add_argument(f"--{name[2:].replace('-', '_')}", **hidden)
        return action


def path(text: str) -> Path:
    """A shell expands ``~`` only at the start of a word, not in ``--output=~/x``."""
    return Path(text).expanduser()


def add_config_files(parser: argparse.ArgumentParser) -> None:
    """``--config-files``, of the commands that train."""
    parser.add_argument("--config-files", default="", help='YAML files: "a.yaml b.yaml"')


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """``--plugins``, of the commands that load a trained model; to others it is an option as any."""
    parser.add_argument("--plugins", help="of a model of your own: the file that registers it, such as my_model.py")


def import_given_plugins(known: argparse.Namespace) -> None:
    """Import what ``add_plugins`` took.

    Raises:
        ConfigError: as ``overlay.plugins.import_plugins``.
    """
    if known.plugins:
        # Need RecBole, which an exported model does not.
        from recbole_cfgdiff.overlay.config import parse_literal
        from recbole_cfgdiff.overlay.plugins import import_plugins

        import_plugins(parse_literal(known.plugins))


def add_experiment_arguments(parser: argparse.ArgumentParser, seeds: int) -> None:
    """Of the commands that do several runs; ``seeds`` is the default number."""
    parser.add_argument("--seeds", type=int, default=seeds, help=f"number of seeds, from 2020 on ({seeds})")
    parser.add_argument("--output", type=path, help="folder of the experiment, also to continue it (results/...)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share the cores (1)")


def parse_options(arguments: Sequence[str]) -> dict[str, str]:
    """Read ``--key=value`` and ``--key value`` arguments.

    Raises:
        ConfigError: on an argument of another form, or on two values for one key.
    """
    options: dict[str, str] = {}
    left = list(arguments)
    while left:
        argument = left.pop(0)
        key, equals, value = argument[2:].partition("=")
        if not equals and left and _is_value(left[0]):
            equals, value = "=", left.pop(0)
        if not argument.startswith("--") or not equals or not key:
            hint = f"; write {argument}=VALUE" if argument.startswith("--") and key and not equals else ""
            raise ConfigError(f"expected --key=value, got {argument}{hint}")
        if options.get(key, value) != value:
            raise ConfigError(f"--{key} is given twice: {options[key]} and {value}")
        options[key] = value
    return options


def _is_value(argument: str) -> bool:
    """Whether an argument can be the value of the one before: all that is no option itself, also a negative number."""
    return not argument.startswith("-") or re.fullmatch(r"-[\d.][\d.e+-]*", argument) is not None


def further_options(known: argparse.Namespace, rest: list[str], *needed: str) -> dict[str, str]:
    """``parse_options``, of a command that has options of its own.

    Raises:
        ConfigError: also if one that is needed was not given, or if one of them is misspelt.
    """
    options = parse_options(rest)
    for name in needed:
        if not getattr(known, name):
            similar = nearest(name, options)
            hint = f" (is --{similar[0]} meant for it?)" if similar else ""
            raise ConfigError(f"{name}: none given; add --{name}={name.upper()}{hint}")
    for name in options:
        if similar := nearest(name.replace("-", "_"), vars(known)):
            from recbole_cfgdiff.overlay.option_names import is_option

            if not is_option(name):
                raise ConfigError(f"unknown option {name}; did you mean --{similar[0].replace('_', '-')}?")
    return options


def no_further_options(rest: list[str]) -> None:
    """Refuse what is left, of a command that trains nothing.

    Raises:
        ConfigError: if anything is.
    """
    if rest:
        raise ConfigError(f"unknown argument {rest[0]}; --help tells the arguments")
