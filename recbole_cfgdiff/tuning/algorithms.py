"""How a hyperparameter search chooses what it tries next: by Optuna's samplers, or all combinations."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.tuning.space import Range, multiples

ALGORITHMS = ("exhaustive", "random", "bayes")
_MOST_COMBINATIONS = 10_000_000


def check_algorithm(algorithm: str) -> None:
    """Check that there is a search by that algorithm.

    Raises:
        ConfigError: if it is unknown, or if Optuna is missing.
    """
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"algo: expected one of {', '.join(ALGORITHMS)}, got {algorithm}")
    try:
        importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        raise ConfigError(f'tune: {error}; pip install "recbole-cfgdiff[tune]"') from error


def check_can_search(algorithm: str, space: dict[str, Range]) -> None:
    """Check that the algorithm can search a space, as all but the exhaustive one can any.

    Raises:
        ConfigError: on another parameter than a choice, or too many combinations.
    """
    if algorithm != "exhaustive":
        return
    if not_listed := [name for name, parameter in space.items() if parameter.kind != "choice"]:
        raise ConfigError(
            f"algo exhaustive: every parameter must be a choice of listed values, {', '.join(not_listed)} is not; "
            "take random or bayes"
        )
    if (total := n_combinations(space)) > _MOST_COMBINATIONS:
        raise ConfigError(f"algo exhaustive: there are {total:,} combinations; take random or bayes")


def n_combinations(space: dict[str, Range]) -> int:
    """Of a space of choices."""
    return math.prod(len(parameter.values) for parameter in space.values())


def distributions(space: dict[str, Range]) -> dict[str, Any]:
    """The parameters as Optuna has them, which ``space.plain_value`` makes values of: of a choice the place in its
    list, which may have any values, and of ``quniform`` the multiple of the step."""
    return {name: _distribution(parameter) for name, parameter in space.items()}


def _distribution(parameter: Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.kind == "choice":
        return CategoricalDistribution(range(len(parameter.values)))
    if parameter.kind == "quniform":
        return IntDistribution(*multiples(parameter))
    low, high = parameter.values
    if parameter.kind == "loguniform":
        return FloatDistribution(math.exp(low), math.exp(high), log=True)
    return FloatDistribution(low, high)


def make_sampler(algorithm: str, seed: int, number: int) -> Any:
    """The sampler of one trial of a search by ``random``, or by ``bayes``: the tree of Parzen estimators (Bergstra et
    al., "Algorithms for Hyper-Parameter Optimization", 2011).

    Its random numbers depend on the seed and the trial's number alone: a sampler for the whole search would begin anew
    when the search is continued, and suggest its first trials once more.
    """
    from optuna.samplers import RandomSampler, TPESampler

    seed_of_trial = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return {"random": RandomSampler, "bayes": TPESampler}[algorithm](seed=seed_of_trial)


class Combinations:
    """Every combination once, in a random order, so that a search that is cut short is a random one.

    RecBole's exhaustive search draws combinations until it has missed many times, and so may leave some out. Optuna's
    holds all combinations in memory.

    Args:
        space: choices only.
        seed: of the order.
    """

    def __init__(self, space: dict[str, Range], seed: int) -> None:
        self._shape = {name: len(parameter.values) for name, parameter in space.items()}
        self._order = np.random.default_rng(seed).permutation(n_combinations(space))

    def __len__(self) -> int:
        return len(self._order)

    def places(self, number: int) -> dict[str, int]:
        """By parameter, the place in its list of the trial of that number, from 1."""
        places = np.unravel_index(self._order[number - 1], tuple(self._shape.values()))
        return {name: int(place) for name, place in zip(self._shape, places)}
