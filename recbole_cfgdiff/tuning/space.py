"""Search spaces in RecBole's ``.hyper`` format: a line a parameter, ``NAME TYPE RANGE``."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cfgdiff.errors import ConfigError

# Numbers after the type, and what they mean; e is the base of loguniform, as in hyperopt and so in RecBole.
NUMBERS = {
    "uniform": "low,high",
    "quniform": "low,high,step",
    "loguniform": "ln(low),ln(high)",
}
_EXPECTED = "expected NAME choice [VALUE, ...] or NAME " + ", ".join(f"{kind} {form}" for kind, form in NUMBERS.items())


class Range(NamedTuple):
    """The values that a parameter is searched among.

    Attributes:
        kind: ``choice``, or one of ``NUMBERS``.
        values: the choices, or the numbers.
    """

    kind: str
    values: tuple[Any, ...]


def read_space(path: Path) -> dict[str, Range]:
    """Read a ``.hyper`` file.

    Unlike RecBole's reader, which passes over short lines in silence and evaluates choices as code: choices are read
    as Python literals, lines that start with ``#`` and empty ones are left out, anything else is an error.

    Raises:
        ConfigError: on a malformed line, with its number and what was expected, or if there is no parameter.
    """
    if not path.is_file():
        raise ConfigError(f"params_file: there is no file {path}")
    space: dict[str, Range] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"params_file: can't read {path} as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, kind, text = line.split(maxsplit=2)
            parsed = Range(kind, _choices(text) if kind == "choice" else _numbers(kind, text))
        except (ValueError, SyntaxError, TypeError, KeyError, OverflowError, MemoryError, RecursionError) as error:
            raise ConfigError(f"{path}, line {number}: {_EXPECTED}; got {line.strip()!r}") from error
        if name in space:
            raise ConfigError(f"{path}, line {number}: {name} is given twice")
        space[name] = parsed
    if not space:
        raise ConfigError(f"{path}: no parameter to search; {_EXPECTED}")
    return space


def _choices(text: str) -> tuple[Any, ...]:
    values = ast.literal_eval(text)
    if not isinstance(values, list) or not values:
        raise ValueError(text)
    return tuple(values)


def _numbers(kind: str, text: str) -> tuple[float, ...]:
    values = tuple(map(float, text.replace(" ", "").split(",")))
    is_ordered = len(values) == NUMBERS[kind].count(",") + 1 and values[0] < values[1]
    largest = math.exp(values[1]) if is_ordered and kind == "loguniform" else 0
    if not is_ordered or not all(map(math.isfinite, (*values, largest))) or any(step <= 0 for step in values[2:]):
        raise ValueError(text)
    return values


def plain_value(parameter: Range, value: Any) -> Any:
    """A suggested value as a Python one: of a choice, whose place is suggested, the listed one; a whole number where
    only whole ones, the multiples of a whole step, are searched among."""
    if parameter.kind == "choice":
        return parameter.values[int(value)]
    return int(value) if parameter.kind == "quniform" and parameter.values[2].is_integer() else float(value)


def boundary_values(parameter: Range) -> list[Any]:
    """All choices, or the two ends of a range."""
    if parameter.kind == "choice":
        return list(parameter.values)
    low, high, *step = parameter.values
    if parameter.kind == "loguniform":
        return [math.exp(low), math.exp(high)]
    ends = [round(end / step[0]) * step[0] for end in (low, high)] if step else [low, high]
    return [plain_value(parameter, end) for end in ends]
