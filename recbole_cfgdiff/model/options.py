"""Reading of hyperparameters: the right type and range, or an error that names the option."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from recbole_cfgdiff.errors import ConfigError

_LARGEST = 2**63 - 1  # of what torch, numpy and Python's own iterators count by


def _fail(key: str, expected: str, value: Any) -> ConfigError:
    return ConfigError(f"{key}: expected {expected}, got {value!r}")


def read_flag(config: Any, key: str) -> bool:
    """``config[key]`` as True or False.

    Raises:
        ConfigError: if it is anything else (also in the functions below).
    """
    value = config[key]
    if not isinstance(value, bool):
        raise _fail(key, "True or False", value)
    return value


def read_integer(config: Any, key: str, minimum: int) -> int:
    """``config[key]`` as an integer of at least ``minimum``."""
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise _fail(key, f"an integer of at least {minimum}", value)
    if value > _LARGEST:
        raise _fail(key, "an integer below 2^63", value)
    return value


def read_number(config: Any, key: str, low: float = -math.inf, high: float = math.inf) -> float:
    """``config[key]`` as a finite number in ``[low, high]``."""
    value = config[key]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        bounds = f" in [{low:g}, {high:g}]" if math.isfinite(high) else f" of at least {low:g}"
        raise _fail(key, "a finite number" + (bounds if math.isfinite(low) else ""), value)
    return float(value)


def read_scale(config: Any, key: str) -> float | None:
    """``config[key]`` as a positive, finite number, or None where it is ``'auto'``."""
    value = config[key]
    if value == "auto":
        return None
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise _fail(key, "auto or a positive number", value)
    return float(value)


def read_numbers(config: Any, key: str) -> list[float]:
    """``config[key]`` as a list of different finite numbers; None is an empty one."""
    value = [] if config[key] is None else config[key]
    is_list = isinstance(value, list) and all(type(each) in (int, float) and math.isfinite(each) for each in value)
    if not is_list or len(set(value)) < len(value):
        raise _fail(key, "a list of different finite numbers, such as [0, 0.5, 1], or None", value)
    return [float(each) for each in value]


def read_choice(config: Any, key: str, choices: Collection[Any]) -> Any:
    """``config[key]`` as one of ``choices``."""
    value = config[key]
    if isinstance(value, (list, dict)) or value not in choices:
        raise _fail(key, f"one of {', '.join(map(str, choices))}", value)
    return value


def read_sizes(config: Any, key: str) -> list[int]:
    """``config[key]`` as a non-empty list of positive integers."""
    value = config[key]
    if not isinstance(value, list) or not value or not all(type(size) is int and size > 0 for size in value):
        raise _fail(key, "a non-empty list of positive integers, such as [300]", value)
    return value
