"""Types of the hyperparameters of RecBole's models, which RecBole itself does not check; ours check their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.option_names import model_files
from recbole_cfgdiff.overlay.yaml_files import read_yaml
from recbole_cfgdiff.properties import RECBOLE_PROPERTIES

_KINDS: dict[str, tuple[type, ...]] = {
    "True or False": (bool,),
    "a number": (int, float),
    "text": (str,),
    "a list": (list, tuple),
    "keys and values": (dict,),
}
# Declared as a number, and read as text or as True and False too (SASRecCPR, GRU4RecCPR).
_OF_SEVERAL_KINDS = ("reranker_CAN_NUM", "use_proj_bias")


def check_hyperparameter_types(options: Mapping[str, Any], model_class: type) -> None:
    """Check the hyperparameters that a model of RecBole's declares in its YAML file.

    Args:
        options: all options.
        model_class: the model.

    Raises:
        ConfigError: on a value of another kind than the declared one, with both.
    """
    for name, declared in _declared(model_class).items():
        value, kind = options[name], _kind_of(declared)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}: expected a finite number, such as {declared!r}, got {value!r}")
        if name.endswith("_size") and kind == "a number" and _kind_of(value) == kind and value < 1:
            raise ConfigError(f"{name}: expected at least 1, such as {declared!r}, got {value!r}")
        if _kind_of(value) != kind:
            raise ConfigError(f"{name}: expected {kind}, such as {declared!r}, got {value!r}")


def _declared(model_class: type) -> dict[str, Any]:
    """What the files of RecBole declare, but for what a file of ours declares too, which the model checks itself."""
    declared: dict[str, Any] = {}
    for file in model_files(model_class):
        content = read_yaml(file)
        if RECBOLE_PROPERTIES in file.parents:
            declared |= content
        else:
            declared = {name: value for name, value in declared.items() if name not in content}
    return {name: value for name, value in declared.items() if value is not None and name not in _OF_SEVERAL_KINDS}


def _kind_of(value: Any) -> str:
    return next((kind for kind, types in _KINDS.items() if isinstance(value, types)), "")
