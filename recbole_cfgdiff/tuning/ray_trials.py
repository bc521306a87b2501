"""The trials of a search done by Ray Tune: several at a time, on one machine or many, bad ones stopped early."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.overlay.checkpoint import BEST, LAST, load
from recbole_cfgdiff.runs.pool import kind_of
from recbole_cfgdiff.runs.progress import Epochs
from recbole_cfgdiff.runs.spec import CHECKPOINTS, CURVE, Run
from recbole_cfgdiff.runs.worker import LearningCurve, attempt
from recbole_cfgdiff.tuning.cluster import Cluster
from recbole_cfgdiff.tuning.trials import MakeTrial, Trial, TrialTable, outcome_of

if TYPE_CHECKING:
    from recbole_cfgdiff.tuning.study import Study

RAY_FOLDER = "ray"
# ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020): after _GRACE validations, after
# _REDUCTION times as many, and so on, a trial goes on if it is among the best 1/_REDUCTION of those that came so far.
_GRACE = 5
_REDUCTION = 3
_MAX_RESTARTS = 3


def do_by_ray(search: Study, make_trial: MakeTrial, table: TrialTable, cluster: Cluster) -> Path:
    """Do the trials by Ray Tune, from where an interrupted search left off.

    After every validation a trial reports its score and a checkpoint: ASHA stops the bad ones, and the trial of a
    worker that dies goes on from there, at most three times. Only trials that have ended of themselves can be chosen.

    Ray's own files are in ``ray/N/`` in the folder of the search, a folder a trial, a new N for each time that the
    search is started or continued: Ray pickles its state, and so is never given files that were there before. A search
    goes on by its study; a trial that was interrupted, from its own checkpoint.

    Args:
        search: what is tried.
        make_trial: a trial of what is suggested.
        table: gets what came of it.
        cluster: what a trial gets; ``connected`` to it.

    Returns:
        the folder of the best trial's checkpoint.

    Raises:
        TrainingError: if no trial ended, or if Ray lost the best one's weights.
    """
    table.add_finished(search, make_trial)
    if len(table.trials) < table.total:
        left = {number: _what_is_left(table.output, number) for number, _ in search.begun}
        _run(_make_searcher(search, make_trial, table), table, cluster, left)
    best, score = table.the_best()
    for folder in _checkpoints(table.output, best.number):
        if math.isclose(_score_of(folder / BEST, table.metric), score):
            return folder
    raise TrainingError(f"{table.output / RAY_FOLDER}: no weights of {best.run.label} have its {table.metric}, {score}")


def _score_of(path: Path, metric: str) -> float:
    """The validation score of a checkpoint's weights; NaN if it is damaged."""
    try:
        result = load(path).get("best_valid_result")
    except ConfigError:
        return math.nan
    score = result.get(metric) if isinstance(result, dict) else None
    return score if isinstance(score, float) else math.nan


_Files = dict[str, bytes]  # by path below the run's folder


def _run(searcher: Any, table: TrialTable, cluster: Cluster, left: dict[int, _Files]) -> None:
    """Have Ray Tune do what is not done. By number, what is ``left`` of trials that were interrupted."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    folder = table.output.resolve() / RAY_FOLDER
    analysis = tune.run(
        tune.with_parameters(_train, left=left),
        name=str(max(_sessions(table.output), default=0) + 1),
        storage_path=str(folder),
        metric="best_valid_score",
        mode="max" if table.bigger else "min",
        config={"cpus": cluster.cpus_per_trial},
        num_samples=table.total - len(table.trials),
        search_alg=searcher,
        scheduler=ASHAScheduler("validations", grace_period=_GRACE, reduction_factor=_REDUCTION, max_t=10**9),
        resources_per_trial={"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial},
        checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        trial_dirname_creator=_folder_name,
        max_failures=_MAX_RESTARTS,
        raise_on_failed_trial=False,
        reuse_actors=False,  # a process of its own for each trial
        verbose=0,
    )
    if not all(trial.is_finished() for trial in analysis.trials):
        raise TrainingError("Ray stopped before the search was over; it continues by the same command")


def _sessions(output: Path) -> list[int]:
    """Each time that the search was started or continued."""
    folder = output / RAY_FOLDER
    return [int(path.name) for path in folder.glob("*") if re.fullmatch(r"\d{1,9}", path.name, re.ASCII)]


def _folder_name(trial: Any) -> str:
    return f"trial-{trial.config['number']:03d}"


def _checkpoints(output: Path, number: int) -> list[Path]:
    """The folders with checkpoints of a trial, the latest first."""
    return [
        path.parent
        for session in sorted(_sessions(output), reverse=True)
        for path in sorted(
            (output / RAY_FOLDER / str(session)).glob(f"trial-{number:03d}/checkpoint_*/{CHECKPOINTS}/{BEST}"),
            reverse=True,
        )
    ]


def _what_is_left(output: Path, number: int) -> _Files:
    """What a trial that was interrupted goes on from, wherever it will be done; empty if there is nothing."""
    names = (CURVE, f"{CHECKPOINTS}/{LAST}", f"{CHECKPOINTS}/{BEST}")
    for folder in (checkpoints.parent for checkpoints in _checkpoints(output, number)):
        if all((folder / name).is_file() for name in names):
            return {name: (folder / name).read_bytes() for name in names}
    return {}


def _train(config: dict[str, Any], left: dict[int, _Files]) -> None:
    """One trial, in a process that Ray starts on any of its machines.

    Args:
        config: ``number``, ``run`` (as a dictionary) and ``cpus``.
        left: by number, what interrupted trials go on from.
    """
    import ray
    import torch
    from ray import tune

    torch.set_num_threads(config["cpus"])
    # RecBole makes those accelerators visible that gpu_id names, which may be another trial's.
    options = {**config["run"]["options"], "gpu_id": ",".join(map(str, ray.get_gpu_ids()))}
    run = Run(**{**config["run"], "options": options})
    folder = Path("run").resolve()  # below the trial's working folder, of which Ray copies nothing but checkpoints
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if (checkpoint := tune.get_checkpoint()) is not None:
        checkpoint.to_directory(str(folder))
    else:
        for name, content in left.get(config["number"], {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)

    def report(metrics: dict[str, Any]) -> None:
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(str(folder)))

    def report_validation(curve: LearningCurve) -> None:
        told = {"valid_score": curve.latest, "best_valid_score": curve.best, "validations": curve.validations}
        done = {"epochs": curve.epochs, "most_epochs": curve.most_epochs, "training_seconds": curve.seconds()}
        report({"status": "stopped", **told, **done})

    record = attempt(run, folder, report_validation)
    (folder / CHECKPOINTS / LAST).unlink(missing_ok=True)
    report({**record, "best_valid_score": record.get("valid_score", float("nan"))})
    shutil.rmtree(folder)


def _make_searcher(search: Study, make_trial: MakeTrial, table: TrialTable) -> Any:
    """``search`` as Ray Tune asks for it."""
    from ray.tune.search import Searcher

    class TrialSearcher(Searcher):
        """Suggests trials and takes what came of them."""

        def __init__(self) -> None:
            super().__init__()
            self._open: dict[str, Trial] = {}

        def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
            return True

        def suggest(self, trial_id: str) -> Any:
            if (suggestion := search.next()) is None:
                return Searcher.FINISHED
            trial = self._open[trial_id] = make_trial(*suggestion)
            table.progress.start(str(trial.run), kind_of(trial.run))
            return {"number": trial.number, "run": asdict(trial.run)}

        def on_trial_result(self, trial_id: str, result: Any) -> None:
            if "most_epochs" in result:
                epochs = Epochs(result["epochs"], result["most_epochs"], result["training_seconds"])
                table.progress.update(str(self._open[trial_id].run), epochs)
            table.progress.line()

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            trial = self._open.pop(trial_id)
            record = {**(result or {}), "valid_score": (result or {}).get("best_valid_score")}
            if error:
                told = f"given up after {_MAX_RESTARTS} restarts; see its error.txt, trial-{trial.number:03d} in ray/"
                record = {"status": "failed", "error": told}
            outcome = outcome_of(record)
            table.progress.end(str(trial.run))
            if outcome["status"] == "ended":
                table.progress.took(kind_of(trial.run), outcome["training_seconds"])
            search.report(trial.number, outcome)
            table.add(trial, outcome)

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the search goes on by its own file."""

        def restore(self, checkpoint_path: str) -> None:
            raise NotImplementedError

    return TrialSearcher()
