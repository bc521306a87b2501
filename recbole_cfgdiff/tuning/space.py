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
_LARGEST_WHOLE = 2**53  # beyond it not every whole number is a float
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
    if not is_ordered or not all(map(math.isfinite, values)) or any(step <= 0 for step in values[2:]):
        raise ValueError(text)
    if kind == "loguniform" and (math.exp(values[0]) == 0 or math.isinf(math.exp(values[1]))):
        raise ValueError(text)
    if kind == "quniform" and max(map(abs, multiples(Range(kind, values)))) > _LARGEST_WHOLE:
        raise ValueError(text)
    return values


def multiples(parameter: Range) -> tuple[int, int]:
    """The first and the last multiple of the step that a ``quniform`` takes: as in hyperopt, and so in RecBole, those
    that numbers between its ends are rounded to. Here each is as likely as another; there the two last are half so."""
    low, high, step = parameter.values
    return round(low / step), round(high / step)


def plain_value(parameter: Range, value: Any) -> Any:
    """The value of what is suggested: of a choice the place in its list, of ``quniform`` a multiple of its step, which
    is a whole number if the step is."""
    if parameter.kind == "choice":
        return parameter.values[value]
    if parameter.kind == "quniform":
        step = parameter.values[2]
        return value * (int(step) if step.is_integer() else step)
    return value


def boundary_values(parameter: Range) -> list[Any]:
    """All choices, or the two ends of a range."""
    if parameter.kind == "choice":
        return list(parameter.values)
    if parameter.kind == "quniform":
        return [plain_value(parameter, multiple) for multiple in multiples(parameter)]
    return [math.exp(end) if parameter.kind == "loguniform" else end for end in parameter.values]
