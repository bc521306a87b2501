"""What a hyperparameter search tries next: hyperopt's algorithms and RecBole's exhaustive one."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.experiment.search_space import Range, plain_value

ALGORITHMS = ("exhaustive", "random", "bayes")


class Search:
    """Suggests parameters, one trial after another or for several at a time.

    RecBole's ``HyperTuning`` keeps no trials, so it can't go on after a break. Here every suggestion depends on nothing
    but the space, the seed and what was suggested and reported before: a search that is repeated from the start
    suggests the same, and a pickled one goes on.

    Args:
        space: the parameters.
        algorithm: one of ``ALGORITHMS``.
        seed: of the suggestions.

    Raises:
        ConfigError: if the algorithm is unknown, can't search the space, or if hyperopt is missing.
    """

    def __init__(self, space: dict[str, Range], algorithm: str, seed: int) -> None:
        hyperopt = _import_hyperopt()
        from recbole.trainer import hyper_tuning

        if algorithm not in ALGORITHMS:
            raise ConfigError(f"algo: expected one of {', '.join(ALGORITHMS)}, got {algorithm}")
        not_listed = [name for name, parameter in space.items() if parameter.kind != "choice"]
        if algorithm == "exhaustive" and not_listed:
            raise ConfigError(
                f"algo exhaustive: every parameter must be a choice of listed values, {', '.join(not_listed)} is not; "
                "take random or bayes"
            )
        self._parameters = space
        self._space = {name: _as_hyperopt(name, parameter) for name, parameter in space.items()}
        self._suggest = {
            "exhaustive": partial(hyper_tuning.exhaustive_search, nbMaxSucessiveFailures=10_000),
            "random": hyperopt.rand.suggest,
            "bayes": hyperopt.tpe.suggest,
        }[algorithm]
        self._domain = hyperopt.base.Domain(_no_objective, self._space)
        self._trials = hyperopt.Trials()
        self._random = np.random.default_rng(seed)

    def next(self) -> tuple[int, dict[str, Any]] | None:
        """Number, from 1, and parameters of the next trial, or None if every combination was suggested."""
        import hyperopt

        number = len(self._trials.trials) + 1
        documents = self._suggest([number], self._domain, self._trials, int(self._random.integers(2**31)))
        if not documents:
            return None
        self._trials.insert_trial_docs(documents)
        self._trials.refresh()
        chosen = {name: values[0] for name, values in documents[0]["misc"]["vals"].items() if values}
        parameters = hyperopt.space_eval(self._space, chosen)
        return number, {name: plain_value(self._parameters[name], value) for name, value in parameters.items()}

    def report(self, number: int, loss: float | None) -> None:
        """What came of a trial: lower is better, None for a failure."""
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
        raise ConfigError('tune needs hyperopt 0.2.5: pip install "recbole-cfgdiff[tune]"') from error
    return hyperopt


def _as_hyperopt(name: str, parameter: Range) -> Any:
    from hyperopt import hp

    if parameter.kind == "choice":
        return hp.choice(name, list(parameter.values))
    return getattr(hp, parameter.kind)(name, *parameter.values)
