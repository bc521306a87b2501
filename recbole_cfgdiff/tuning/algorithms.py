"""What a hyperparameter search tries next: all combinations, or what hyperopt suggests."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.tuning.space import Range, plain_value

ALGORITHMS = ("exhaustive", "random", "bayes")
_MOST_COMBINATIONS = 10_000_000


class Search(Protocol):
    """Suggests parameters, one trial after another or for several at a time.

    Every suggestion depends on nothing but the space, the seed and what was suggested and reported before: a search
    that is made anew and goes through them in their order goes on as the first one. (RecBole's ``HyperTuning`` keeps no
    trials, so it can't go on after a break.)
    """

    def next(self) -> tuple[int, dict[str, Any]] | None:
        """Number, from 1, and parameters of the next trial, or None if every combination was suggested."""

    def report(self, number: int, loss: float | None) -> None:
        """What came of a trial: lower is better, None for a failure."""


def make_search(space: dict[str, Range], algorithm: str, seed: int) -> Search:
    """The search by one of ``ALGORITHMS``.

    Raises:
        ConfigError: if the algorithm is unknown, can't search the space, or if hyperopt is missing.
    """
    check_algorithm(algorithm)
    return ExhaustiveSearch(space, seed) if algorithm == "exhaustive" else HyperoptSearch(space, algorithm, seed)


def check_algorithm(algorithm: str) -> None:
    """Check that there is a search by that algorithm.

    Raises:
        ConfigError: if it is unknown, or if hyperopt is missing, which all but the exhaustive one need.
    """
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"algo: expected one of {', '.join(ALGORITHMS)}, got {algorithm}")
    if algorithm != "exhaustive":
        _import_hyperopt()


class ExhaustiveSearch:
    """Every combination once, in a random order, so that a search that is cut short is a random one.

    RecBole's exhaustive search draws combinations until it has missed many times, and so may leave some out.

    Args:
        space: choices only.
        seed: of the order.

    Raises:
        ConfigError: on another parameter than a choice, or too many combinations.
    """

    def __init__(self, space: dict[str, Range], seed: int) -> None:
        if not_listed := [name for name, parameter in space.items() if parameter.kind != "choice"]:
            raise ConfigError(
                f"algo exhaustive: every parameter must be a choice of listed values, {', '.join(not_listed)} is not; "
                "take random or bayes"
            )
        self._space = space
        self._shape = [len(parameter.values) for parameter in space.values()]
        if (total := math.prod(self._shape)) > _MOST_COMBINATIONS:
            raise ConfigError(f"algo exhaustive: there are {total:,} combinations; take random or bayes")
        self._order = np.random.default_rng(seed).permutation(total)
        self._suggested = 0

    def next(self) -> tuple[int, dict[str, Any]] | None:
        """As of ``Search``."""
        if self._suggested == len(self._order):
            return None
        places = np.unravel_index(self._order[self._suggested], self._shape)
        self._suggested += 1
        chosen = zip(self._space.items(), places)
        return self._suggested, {name: parameter.values[place] for (name, parameter), place in chosen}

    def report(self, number: int, loss: float | None) -> None:
        """Nothing is learnt from it."""


class HyperoptSearch:
    """Random search, or the tree of Parzen estimators (Bergstra et al. 2011), by hyperopt.

    Args:
        space: the parameters.
        algorithm: ``random`` or ``bayes``.
        seed: of the suggestions.

    Raises:
        ConfigError: if hyperopt is missing.
    """

    def __init__(self, space: dict[str, Range], algorithm: str, seed: int) -> None:
        hyperopt = _import_hyperopt()
        self._space = space
        self._suggest = {"random": hyperopt.rand.suggest, "bayes": hyperopt.tpe.suggest}[algorithm]
        described = {name: _as_hyperopt(name, parameter) for name, parameter in space.items()}
        self._domain = hyperopt.base.Domain(_no_objective, described)
        self._trials = hyperopt.Trials()
        self._random = np.random.default_rng(seed)

    def next(self) -> tuple[int, dict[str, Any]]:
        """As of ``Search``, without an end."""
        number = len(self._trials.trials) + 1
        documents = self._suggest([number], self._domain, self._trials, int(self._random.integers(2**31)))
        self._trials.insert_trial_docs(documents)
        self._trials.refresh()
        suggested = documents[0]["misc"]["vals"]
        return number, {name: plain_value(parameter, suggested[name][0]) for name, parameter in self._space.items()}

    def report(self, number: int, loss: float | None) -> None:
        """As of ``Search``."""
        import hyperopt

        failed = loss is None or not math.isfinite(loss)
        status = hyperopt.STATUS_FAIL if failed else hyperopt.STATUS_OK
        document = next(document for document in self._trials.trials if document["tid"] == number)
        document["state"] = hyperopt.JOB_STATE_DONE
        document["result"] = {"status": status} if failed else {"status": status, "loss": loss}
        self._trials.refresh()


def _no_objective(_: Any) -> float:
    """In place of the function that hyperopt would minimise itself."""
    return 0.0


def _import_hyperopt() -> Any:
    try:
        import hyperopt
    except ModuleNotFoundError as error:
        raise ConfigError(f'algo: {error}; pip install "recbole-cfgdiff[tune]"') from error
    return hyperopt


def _as_hyperopt(name: str, parameter: Range) -> Any:
    """Of a choice hyperopt sees the places in the list only."""
    from hyperopt import hp

    if parameter.kind == "choice":
        return hp.choice(name, list(range(len(parameter.values))))
    return getattr(hp, parameter.kind)(name, *parameter.values)
