"""Hyperparameters by search, chosen by validation; the test part is looked at once, for what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import write_text
from recbole_cfgdiff.names import check_name
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.config import Config, resolve_model
from recbole_cfgdiff.overlay.option_rules import check_compares
from recbole_cfgdiff.overlay.plugins import check_found_by_workers, without_plugins
from recbole_cfgdiff.properties import PROPERTIES, find_config_file
from recbole_cfgdiff.reporting.figures import search_progress
from recbole_cfgdiff.reporting.outputs import OutputFolder
from recbole_cfgdiff.runs.data_sets import DataSets
from recbole_cfgdiff.runs.prepare import load_trained
from recbole_cfgdiff.runs.progress import Progress
from recbole_cfgdiff.runs.spec import Run, check_names, options_of
from recbole_cfgdiff.tuning.algorithms import check_algorithm, check_can_search, n_combinations
from recbole_cfgdiff.tuning.cluster import Cluster, connected, import_ray, trials_at_a_time
from recbole_cfgdiff.tuning.ray_trials import do_by_ray
from recbole_cfgdiff.tuning.space import Range, boundary_values, read_space
from recbole_cfgdiff.tuning.trials import TRIALS, MakeTrial, Trial, TrialTable, do_in_turn

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
    data_sets: DataSets | None = None,
) -> tuple[float, dict[str, float]]:
    """Search, and leave the best configuration as a YAML file.

    Args:
        model: its name.
        dataset: its name.
        output: folder of the search, where ``trials.csv``, ``best.yaml`` and a figure are written.
        params_file: a ``.hyper`` file; None takes ``properties/hyper/MODEL.hyper``.
        algorithm: one of ``algorithms.ALGORITHMS``.
        max_evals: number of trials; None takes all combinations in an exhaustive search, and 20 otherwise.
        config_files: YAML files.
        options: options over everything but the searched parameters.
        cluster: where Ray does several trials at a time; None does one after another here.
        say: called with a line for each trial, then with the result.
        data_sets: those that were read; None reads them for this search.

    Returns:
        the validation score of the best trial, and its test metrics.

    Raises:
        ConfigError: on a mistake in the options, before anything is run.
        TrainingError: if every trial failed.
    """
    if cluster:
        import_ray()
    data_sets = data_sets or DataSets()
    plan = plan_search(model, dataset, params_file, algorithm, max_evals, config_files, options, data_sets)
    from recbole_cfgdiff.tuning.study import STUDY, Study  # needs Optuna, which not every command does

    identity = {**plan.identity, "tool": "optuna, ray" if cluster else "optuna"}
    with connected(cluster) if cluster else nullcontext(), OutputFolder(output, identity):
        config = plan.config
        jobs = trials_at_a_time(cluster) if cluster else 1
        progress = Progress([f"{config['model']} on {config['dataset']}"] * plan.max_evals, jobs, say)
        metric, bigger = config["valid_metric"].lower(), config["valid_metric_bigger"]
        search = Study(output / STUDY, plan.space, plan.algorithm, config["seed"], bigger)
        table = TrialTable(output, metric, bigger, plan.max_evals, say, progress)
        do_trials = partial(do_by_ray, cluster=cluster) if cluster else do_in_turn
        is_over = len(search.finished) >= plan.max_evals
        # Ray's trials read the files themselves: they may be on other machines.
        with data_sets.kept(output, [] if cluster or is_over else [config["dataset"]]):
            checkpoints = do_trials(search, plan.make_trial, table)
        return _finish(table, checkpoints, plan.how + (" by Ray Tune" if cluster else ""), say)


class Plan(NamedTuple):
    """A search that has been checked and not begun.

    Attributes:
        space: the searched parameters.
        algorithm: how it is searched.
        make_trial: the trial of what is suggested.
        max_evals: number of trials at most.
        config: of one of the trials.
        identity: what tells the search from others.
        how: it is done, for the tables.
    """

    space: dict[str, Range]
    algorithm: str
    make_trial: MakeTrial
    max_evals: int
    config: Config
    identity: dict[str, Any]
    how: str


def plan_search(
    model: str,
    dataset: str,
    params_file: Path | None = None,
    algorithm: str = "bayes",
    max_evals: int | None = None,
    config_files: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    data_sets: DataSets | None = None,
) -> Plan:
    """Everything of ``tune`` up to its first trial. Arguments as there.

    Raises:
        ConfigError: on a mistake in the options, the space or the data; every value of a choice and the ends of every
            range are tried.
    """
    check_algorithm(algorithm)
    check_names([dataset], config_files)
    if params_file:
        check_name("params_file", params_file.name)
    path = params_file or _shipped_space(resolve_model(model).__name__)
    space = read_space(path)
    check_can_search(algorithm, space)
    if max_evals is not None and max_evals < 1:
        raise ConfigError(f"max_evals: expected at least 1, got {max_evals}")
    common = _Common(model, dataset, list(config_files), options or {}, path)
    config = common.check(space)
    _check_validates(config)
    check_found_by_workers(config)
    if max_evals is None:
        max_evals = n_combinations(space) if algorithm == "exhaustive" else 20
    data_hash = (data_sets or DataSets()).check(config)
    identity = {
        "command": "tune",
        "model": config["model"],
        "dataset": config["dataset"],
        "algo": algorithm,
        "max_evals": max_evals,
        "space": path.read_text(encoding="utf-8"),
        "options": without_plugins(common.options),
        "data_hash": data_hash,
        "config_files": {name: find_config_file(name).read_text(encoding="utf-8") for name in config_files},
    }
    how = f"{algorithm} search of {path.name}"
    return Plan(space, algorithm, partial(common.trial, data_hash), max_evals, config, identity, how)


class _Common(NamedTuple):
    """What the trials of a search have in common. Attributes as the arguments of ``tune``."""

    model: str
    dataset: str
    config_files: list[str]
    options: dict[str, Any]
    params_file: Path

    def check(self, space: dict[str, Range]) -> Config:
        """Try every value of a choice and the ends of every range, each beside the first of the others.

        Returns:
            the configuration of the first values.

        Raises:
            ConfigError: on a value that can't be, or if what is searched is also given.
        """
        given = Config(self.model, self.dataset, self.config_files, self.options).external_config_dict
        if "plugins" in space:
            raise ConfigError(f"{self.params_file}: plugins are imported, not searched; give them as --plugins=FILE.py")
        if clashes := sorted(set(space) & set(given)):
            raise ConfigError(f"{self.params_file}: {', '.join(clashes)} is both searched and given")
        values = {name: boundary_values(parameter) for name, parameter in space.items()}
        first = {name: listed[0] for name, listed in values.items()}
        config = self.config(first)
        for name, listed in values.items():
            for value in listed[1:]:
                self.config({**first, name: value})
        return config

    def config(self, parameters: dict[str, Any]) -> Config:
        """Of one trial.

        Raises:
            ConfigError: on a mistake, or if the model does not read a parameter.
        """
        config = Config(self.model, self.dataset, self.config_files, {**self.options, **parameters})
        if unread := set(config.unread_options) & set(parameters):
            raise ConfigError(f"{self.params_file}: {config['model']} does not read {', '.join(sorted(unread))}")
        return config

    def trial(self, data_hash: str, number: int, parameters: dict[str, Any]) -> Trial:
        """One trial, on the data of that hash."""
        config = self.config(parameters)
        what = (config["model"], config["dataset"], config["seed"], options_of(config))
        of_file = {name: value for name, value in config.external_config_dict.items() if name in config.options}
        given = {name: value for name, value in of_file.items() if name not in ("model", "dataset", "chosen_by")}
        run = Run(f"trial-{number:03d}", *what, hyperparameters="", is_tested=False, data_hash=data_hash)
        return Trial(number, parameters, given, run)


def _check_validates(config: Config) -> None:
    """Check that the trials of a search can be told apart by validation, and are runs of their own."""
    if config["resume"] or "resume" in config.external_config_dict:
        raise ConfigError("resume: a search continues by the same command; its trials are runs of their own")
    check_compares(config)
    if config["eval_step"] < 1 or config["eval_args"]["split"].get("RS", [1, 1, 1])[1] == 0:
        raise ConfigError(
            "a search chooses by validation, but nothing is validated: eval_step must be at least 1, and the split in "
            "eval_args must have a validation part"
        )


def _finish(
    table: TrialTable, checkpoints: Path, how: str, say: Callable[[str], None]
) -> tuple[float, dict[str, float]]:
    """Test the best trial, write ``best.yaml`` and the figure."""
    (trial, score), metric, output = table.the_best(), table.metric, table.output
    test = load_trained(checkpoints / checkpoint.BEST).test(load_best_model=False)
    chosen_by = f"tuned: {len(table.trials)} trials, {how}, by validation {metric} on {trial.run.dataset}"
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
