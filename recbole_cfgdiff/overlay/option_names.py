"""Which names of options there are: RecBole passes over a misspelt one in silence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recbole_cfgdiff.errors import ConfigError, nearest
from recbole_cfgdiff.overlay.hyperparameters import all_hyperparameter_names, hyperparameter_names
from recbole_cfgdiff.overlay.options import OPTIONS
from recbole_cfgdiff.overlay.plugins import is_own

_EVAL_ARGS = {"split", "group_by", "order", "mode"}


def check_option_names(options: dict[str, Any], model_class: type) -> list[str]:
    """Find names that nothing reads.

    Args:
        options: what the user gave, by name.
        model_class: the model that is to be trained.

    Returns:
        names that only other models read, sorted.

    Raises:
        ConfigError: on a name that nothing reads, with the nearest one that something does.
    """
    read = {*OPTIONS, *hyperparameter_names(model_class)}
    of_others = all_hyperparameter_names() - read
    if unknown := set(options) - read - of_others:
        raise _unknown("option", unknown, read, _where_to_declare(model_class))
    eval_args = options.get("eval_args")
    if isinstance(eval_args, dict) and (unknown := {*map(str, eval_args)} - _EVAL_ARGS):
        raise _unknown("key of eval_args:", unknown, _EVAL_ARGS)
    return sorted(set(options) & of_others)


def is_option(name: str) -> bool:
    """Whether there is an option of that name, of any model."""
    return name in OPTIONS or name in all_hyperparameter_names()


def _where_to_declare(model_class: type) -> str:
    """What is left to do for an option that a model of one's own reads."""
    if not is_own(model_class):
        return ""
    return f"; an option of your own stands in {model_class.__name__}.hyperparameters_class (examples/own_model.py)"


def _unknown(what: str, unknown: Iterable[str], known: set[str], advice: str = "") -> ConfigError:
    hints = []
    for name in sorted(unknown):
        similar = nearest(name, known)
        hints.append(f"{name} (did you mean {similar[0]}?)" if similar else name)
    return ConfigError(f"unknown {what} {', '.join(hints)}: nothing reads it{advice}")
