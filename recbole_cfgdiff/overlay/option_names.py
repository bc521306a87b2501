"""Which option names anything reads: RecBole passes over a misspelt one in silence."""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from recbole.utils import argument_list

from recbole_cfgdiff.errors import ConfigError, nearest
from recbole_cfgdiff.properties import PACKAGE_ROOT, PROPERTIES, RECBOLE_PROPERTIES, RECBOLE_ROOT, top_level_keys

# Arguments of the command line that never reach the configuration, and what RecBole's starter script calls them.
COMMAND_LINE = {
    "model",
    "dataset",
    "config_files",
    "nproc",
    "ip",
    "port",
    "world_size",
    "group_offset",
    "offset",
    "run_name",
}

_EVAL_ARGS = {"split", "group_by", "order", "mode"}
# config["name"], config.get("name"), and read_number(config, "name") of model/options.py.
_READ = re.compile(r"""config(?:_dict)?(?:\.get\(|\[|, )\s*["']([\w@-]+)["']""")


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
    general = _general_names() | _model_names(model_class)
    foreign = set(options) - general
    unknown = foreign - _other_models_names()
    if unknown:
        # RecBole reads some names that its YAML files and argument lists do not have.
        unknown -= _names_read_under(RECBOLE_ROOT)
    foreign -= _names_read_outside_models()
    if unknown:
        raise _unknown("option", sorted(unknown), general)
    eval_args = options.get("eval_args")
    if isinstance(eval_args, dict) and set(eval_args) - _EVAL_ARGS:
        raise _unknown("key of eval_args:", sorted(map(str, set(eval_args) - _EVAL_ARGS)), _EVAL_ARGS)
    return sorted(foreign)


def is_read(name: str) -> bool:
    """Whether anything, of RecBole or here, reads an option of that name."""
    known = _general_names() | _other_models_names() | _names_read_under(PACKAGE_ROOT)
    return name in known or name in _names_read_under(RECBOLE_ROOT)


def _unknown(what: str, unknown: list[str], known: set[str]) -> ConfigError:
    hints = []
    for name in unknown:
        similar = nearest(name, known)
        hints.append(f"{name} (did you mean {similar[0]}?)" if similar else name)
    return ConfigError(f"unknown {what} {', '.join(hints)}: nothing reads it")


@lru_cache
def _general_names() -> set[str]:
    lists = (value for value in vars(argument_list).values() if isinstance(value, list))
    files = [
        RECBOLE_PROPERTIES / "overall.yaml",
        PROPERTIES / "overall.yaml",
        RECBOLE_PROPERTIES / "dataset" / "sample.yaml",
        RECBOLE_PROPERTIES / "dataset" / "ml-100k.yaml",
        *(PROPERTIES / "dataset").glob("*.yaml"),
    ]
    return COMMAND_LINE.union(*lists, *map(top_level_keys, files))


def model_files(model_class: type) -> list[Path]:
    """The YAML files of a model and of the classes it derives from, in the order in which they apply."""
    names = [Path("model") / f"{base.__name__}.yaml" for base in reversed(model_class.__mro__)]
    files = [folder / name for name in names for folder in (RECBOLE_PROPERTIES, PROPERTIES)]
    return [file for file in files if file.is_file()]


def hyperparameter_names(model_class: type) -> set[str]:
    """Names of the options that are a model's own."""
    return _model_names(model_class) - _general_names()


def all_hyperparameter_names() -> set[str]:
    """Names of the options that the files of any model declare."""
    return _other_models_names() - _general_names()


def _model_names(model_class: type) -> set[str]:
    """Names in the model's YAML files and in the source of the modules it is made of."""
    outside = ("builtins", "torch")
    bases = [base for base in model_class.__mro__ if base.__module__.split(".")[0] not in outside]
    sources = {inspect.getsourcefile(base) for base in bases}
    return set().union(
        *map(top_level_keys, model_files(model_class)),
        *(_names_read_in(Path(source)) for source in sources if source),
    )


@lru_cache
def _other_models_names() -> set[str]:
    files = [
        *RECBOLE_PROPERTIES.glob("model/*.yaml"),
        *RECBOLE_PROPERTIES.glob("quick_start_config/*.yaml"),
        *PROPERTIES.glob("model/*.yaml"),
    ]
    return set().union(*map(top_level_keys, files))


def _names_read_in(source: Path) -> set[str]:
    return set(_READ.findall(source.read_text(encoding="utf-8")))


@lru_cache
def _names_read_under(folder: Path) -> set[str]:
    return set().union(*map(_names_read_in, folder.rglob("*.py")))


def _names_read_outside_models() -> set[str]:
    of_some_models = ("model", "trainer")
    packages = [folder for folder in RECBOLE_ROOT.iterdir() if folder.is_dir() and folder.name not in of_some_models]
    return set().union(*map(_names_read_under, packages))
