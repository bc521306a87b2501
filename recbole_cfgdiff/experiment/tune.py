"""Hyperparameters by search, chosen by validation; the test part is looked at once, for what was chosen."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from recbole_cfgdiff import checkpoint
from recbole_cfgdiff.config import Config, resolve_model
from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.experiment.figures import search_progress
from recbole_cfgdiff.experiment.files import write_text
from recbole_cfgdiff.experiment.outputs import OutputFolder
from recbole_cfgdiff.experiment.pool import run_one
from recbole_cfgdiff.experiment.runs import CHECKPOINTS, Run, check_data, options_of
from recbole_cfgdiff.experiment.search_space import Range, plain_value, read_space
from recbole_cfgdiff.properties import PROPERTIES, find_config_file
from recbole_cfgdiff.quick_start import load_trained

ALGORITHMS = ("exhaustive", "random", "bayes")
BEST = "best.yaml"
TRIALS = "trials.csv"


class Search:
    """Suggests parameters one trial after another, by hyperopt and RecBole's exhaustive search.

    RecBole's ``HyperTuning`` keeps no trials, so it can't go on after a break. Here every suggestion depends on nothing
    but the space, the number of the trial and the losses of those before, so a search that is repeated from the start
    suggests the same, and what was run need not be run again.

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
        self._domain = hyperopt.base.Domain(lambda _: 0, self._space)
        self._trials = hyperopt.Trials()
        self._random = np.random.default_rng(seed)
        self._document: dict[str, Any] = {}

    def next(self) -> dict[str, Any] | None:
        """The parameters of the next trial, or None if every combination was suggested."""
        import hyperopt

        number = len(self._trials.trials)
        documents = self._suggest([number], self._domain, self._trials, int(self._random.integers(2**31)))
        if not documents:
            return None
        self._document = documents[0]
        chosen = {name: values[0] for name, values in self._document["misc"]["vals"].items() if values}
        parameters = hyperopt.space_eval(self._space, chosen)
        return {name: plain_value(self._parameters[name], value) for name, value in parameters.items()}

    def report(self, loss: float | None) -> None:
        """What came of the parameters suggested last: lower is better, None for a failure."""
        import hyperopt

        failed = loss is None or not math.isfinite(loss)
        status = hyperopt.STATUS_FAIL if failed else hyperopt.STATUS_OK
        self._document["state"] = hyperopt.JOB_STATE_DONE
        self._document["result"] = {"status": status} if failed else {"status": status, "loss": loss}
        self._trials.insert_trial_docs([self._document])
        self._trials.refresh()


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


def tune(
    model: str,
    dataset: str,
    output: Path,
    params_file: Path | None = None,
    algorithm: str = "bayes",
    max_evals: int | None = None,
    config_files: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Search, and leave the best configuration as a YAML file.

    Args:
        model: its name.
        dataset: its name.
        output: folder of the search, where ``trials.csv``, ``best.yaml`` and a figure are written as it goes.
        params_file: a ``.hyper`` file; None takes ``properties/hyper/MODEL.hyper``.
        algorithm: one of ``ALGORITHMS``.
        max_evals: number of trials; None takes all combinations in an exhaustive search, and 20 otherwise.
        config_files: YAML files.
        options: options over everything but the searched parameters.
        say: called with a line for each trial, then with the result.

    Returns:
        the record of the best trial, with ``test``, its test metrics.

    Raises:
        ConfigError: on a mistake in the options, before anything is run.
        TrainingError: if every trial failed.
    """
    options = options or {}
    path = params_file or _shipped_space(resolve_model(model).__name__)
    space = read_space(path)
    if max_evals is not None and max_evals < 1:
        raise ConfigError(f"max_evals: expected at least 1, got {max_evals}")
    if clashes := sorted(set(space) & set(options)):
        raise ConfigError(f"{path}: {', '.join(clashes)} is both searched and given")
    config = _config_of(model, dataset, config_files, options, {name: _first(space[name]) for name in space}, path)
    search = Search(space, algorithm, config["seed"])
    if max_evals is None:
        max_evals = math.prod(len(each.values) for each in space.values()) if algorithm == "exhaustive" else 20
    check_data(config)
    identity = {
        "command": "tune",
        "model": config["model"],
        "dataset": config["dataset"],
        "algo": algorithm,
        "space": path.read_text(encoding="utf-8"),
        "options": options,
        "config_files": {name: find_config_file(name).read_text(encoding="utf-8") for name in config_files},
    }
    with OutputFolder(output, identity):
        trials = Trials(output, config["valid_metric"].lower(), max_evals, say)
        while len(trials.rows) < max_evals and (parameters := search.next()) is not None:
            trial = _config_of(model, dataset, config_files, options, parameters, path)
            search.report(trials.do(trial, parameters))
        return trials.finish(f"{algorithm} search of {path.name}")


class Trials:
    """The trials of a search, on disk as it goes.

    Args:
        output: folder of the search.
        metric: what they are judged by, on the validation part.
        total: how many there will be at most.
        say: called with a line for each trial.

    Attributes:
        rows: of ``trials.csv``: number, parameters, status, validation score, seconds, epochs, message of a failure.
    """

    def __init__(self, output: Path, metric: str, total: int, say: Callable[[str], None]) -> None:
        self._output, self._metric, self._total, self._say = output, metric, total, say
        self.rows: list[dict[str, Any]] = []
        self._best: tuple[float, Run, Config, dict[str, Any]] | None = None

    def do(self, config: Config, parameters: dict[str, Any]) -> float | None:
        """Run a trial, or take its record if it was run before; its loss, None if it failed."""
        number = len(self.rows) + 1
        what = (config["model"], config["dataset"], config["seed"], options_of(config))
        run = Run(f"trial-{number:03d}", *what, hyperparameters="", is_tested=False)
        record = run_one(run, self._output)
        loss = None
        if record["status"] == "ended":
            loss = -record["valid_score"] if record["valid_metric_bigger"] else record["valid_score"]
            self._keep_if_best(loss, run, config, record)
        self._write_row(number, parameters, record)
        return loss

    def _keep_if_best(self, loss: float, run: Run, config: Config, record: dict[str, Any]) -> None:
        """Only the best trial's checkpoint is kept."""
        before, now = self._best, (loss, run, config, record)
        self._best = now if before is None or loss < before[0] else before
        for _, other, *_ in filter(None, (before, now)):
            if other is not self._best[1]:
                shutil.rmtree(other.folder(self._output) / CHECKPOINTS, ignore_errors=True)

    def _write_row(self, number: int, parameters: dict[str, Any], record: dict[str, Any]) -> None:
        told = {name: record.get(name) for name in ("status", "valid_score", "training_seconds", "epochs", "error")}
        self.rows.append({"trial": number, **parameters, **told})
        table = pd.DataFrame(self.rows)
        write_text(self._output / TRIALS, table.to_csv(index=False))
        outcome = record["error"] if record["status"] == "failed" else f"{self._metric} {record['valid_score']:.4f}"
        best = f"; best {_score(self._best[3]):.4f}" if self._best is not None else ""
        told_parameters = ", ".join(f"{name}={_short(value)}" for name, value in parameters.items())
        self._say(f"[{number}/{self._total}] {told_parameters}: {record['status']}, validation {outcome}{best}")

    def finish(self, how: str) -> dict[str, Any]:
        """Test the best trial, write ``best.yaml`` and the figure."""
        if self._best is None:
            raise TrainingError(f"all trials failed; the first: {self.rows[0]['error']}")
        _, run, config, record = self._best
        prepared = load_trained(run.folder(self._output) / CHECKPOINTS / checkpoint.BEST)
        test = {name: float(value) for name, value in prepared.test(load_best_model=False).items()}
        given = {name: value for name, value in config.external_config_dict.items() if name in config.options}
        chosen_by = f"tuned: {len(self.rows)} trials, {how}, by validation {self._metric} on {config['dataset']}"
        best = {"model": config["model"], "dataset": config["dataset"], **given, "chosen_by": chosen_by}
        write_text(self._output / BEST, yaml.safe_dump(best, sort_keys=False, allow_unicode=True))
        search_progress(pd.DataFrame(self.rows), self._metric).save(self._output)
        self._say(
            f"\nbest: {run.label}, {self._metric}: validation {_score(record):.4f}, test {test[self._metric]:.4f}"
        )
        self._say(f"{self._output / BEST}; all trials: {self._output / TRIALS}")
        return {**record, "test": test}


def _score(record: dict[str, Any]) -> float:
    return record["valid_score"]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def has_space(model: str) -> bool:
    """Whether a search space is shipped for a model, by any of its names."""
    return _space_path(resolve_model(model).__name__).is_file()


def _space_path(model: str) -> Path:
    return PROPERTIES / "hyper" / f"{model}.hyper"


def _shipped_space(model: str) -> Path:
    path = _space_path(model)
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.hyper")))
        raise ConfigError(f"params_file: give one; there is none shipped for {model}, only for {known}")
    return path


def _first(parameter: Range) -> Any:
    first = parameter.values[0]
    return math.exp(first) if parameter.kind == "loguniform" else plain_value(parameter, first)


def _config_of(
    model: str,
    dataset: str,
    config_files: Sequence[str],
    options: dict[str, Any],
    parameters: dict[str, Any],
    path: Path,
) -> Config:
    config = Config(model, dataset, list(config_files), {**options, **parameters})
    if unread := set(config.unread_options) & set(parameters):
        raise ConfigError(f"{path}: {config['model']} does not read {', '.join(sorted(unread))}")
    return config
