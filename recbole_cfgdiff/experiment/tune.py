"""Hyperparameters by search, chosen by validation; the test part is looked at once, for what was chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from recbole_cfgdiff import checkpoint
from recbole_cfgdiff.config import Config, resolve_model
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.experiment.figures import search_progress
from recbole_cfgdiff.experiment.files import write_text
from recbole_cfgdiff.experiment.outputs import OutputFolder
from recbole_cfgdiff.experiment.ray_trials import Cluster, connected, do_by_ray
from recbole_cfgdiff.experiment.runs import Run, check_data, options_of
from recbole_cfgdiff.experiment.search import Search
from recbole_cfgdiff.experiment.search_space import Range, plain_value, read_space
from recbole_cfgdiff.experiment.trials import TRIALS, Trial, TrialTable, do_in_turn
from recbole_cfgdiff.properties import PROPERTIES, find_config_file
from recbole_cfgdiff.quick_start import load_trained

BEST = "best.yaml"


def tune(
    model: str,
    dataset: str,
    output: Path,
    params_file: Path | None = None,
    algorithm: str = "bayes",
    max_evals: int | None = None,
    config_files: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    cluster: Cluster | None = None,
    say: Callable[[str], None] = print,
) -> tuple[float, dict[str, float]]:
    """Search, and leave the best configuration as a YAML file.

    Args:
        model: its name.
        dataset: its name.
        output: folder of the search, where ``trials.csv``, ``best.yaml`` and a figure are written.
        params_file: a ``.hyper`` file; None takes ``properties/hyper/MODEL.hyper``.
        algorithm: one of ``search.ALGORITHMS``.
        max_evals: number of trials; None takes all combinations in an exhaustive search, and 20 otherwise.
        config_files: YAML files.
        options: options over everything but the searched parameters.
        cluster: where Ray does several trials at a time; None does one after another here.
        say: called with a line for each trial, then with the result.

    Returns:
        the validation score of the best trial, and its test metrics.

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
        "tool": "ray" if cluster else "hyperopt",
        "model": config["model"],
        "dataset": config["dataset"],
        "algo": algorithm,
        "space": path.read_text(encoding="utf-8"),
        "options": options,
        "config_files": {name: find_config_file(name).read_text(encoding="utf-8") for name in config_files},
    }

    def make_trial(number: int, parameters: dict[str, Any]) -> Trial:
        of_trial = _config_of(model, dataset, config_files, options, parameters, path)
        label = f"trial-{number:03d}"
        what = (of_trial["model"], of_trial["dataset"], of_trial["seed"], options_of(of_trial))
        given = {name: value for name, value in of_trial.external_config_dict.items() if name in of_trial.options}
        return Trial(number, parameters, given, Run(label, *what, hyperparameters="", is_tested=False))

    with connected(cluster) if cluster else nullcontext(), OutputFolder(output, identity):
        table = TrialTable(output, config["valid_metric"].lower(), config["valid_metric_bigger"], max_evals, say)
        do_trials = partial(do_by_ray, cluster=cluster) if cluster else do_in_turn
        checkpoints = do_trials(search, make_trial, table)
        how = f"{algorithm} search of {path.name}" + (" by Ray Tune" if cluster else "")
        return _finish(table, checkpoints, how, say)


def _finish(
    table: TrialTable, checkpoints: Path, how: str, say: Callable[[str], None]
) -> tuple[float, dict[str, float]]:
    """Test the best trial, write ``best.yaml`` and the figure."""
    (trial, score), metric, output = table.the_best(), table.metric, table.output
    test = load_trained(checkpoints / checkpoint.BEST).test(load_best_model=False)
    chosen_by = f"tuned: {len(table.rows)} trials, {how}, by validation {metric} on {trial.run.dataset}"
    best = {"model": trial.run.model, "dataset": trial.run.dataset, **trial.given, "chosen_by": chosen_by}
    write_text(output / BEST, yaml.safe_dump(best, sort_keys=False, allow_unicode=True))
    search_progress(table.table(), metric).save(output)
    say(f"\nbest: {trial.run.label}, {metric}: validation {score:.4f}, test {test[metric]:.4f}")
    say(f"{output / BEST}; all trials: {output / TRIALS}")
    return score, {name: float(value) for name, value in test.items()}


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
