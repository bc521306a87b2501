"""The trials of a search done by Ray Tune: several at a time, on one machine or many, bad ones stopped early."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from recbole_cfgdiff import interrupts
from recbole_cfgdiff.checkpoint import BEST, LAST, load
from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.experiment.pool import available_cores, search_path
from recbole_cfgdiff.experiment.runs import CHECKPOINTS, CURVE, Run
from recbole_cfgdiff.experiment.search import Search
from recbole_cfgdiff.experiment.trials import MakeTrial, Trial, TrialTable
from recbole_cfgdiff.experiment.worker import LearningCurve, attempt

RAY_FOLDER = "ray"
_CONNECT_SECONDS = 5
# ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020): after _GRACE validations, after
# _REDUCTION times as many, and so on, a trial goes on if it is among the best 1/_REDUCTION of those that came so far.
_GRACE = 5
_REDUCTION = 3
_MAX_RESTARTS = 3


@dataclass(frozen=True)
class Cluster:
    """Where Ray does the trials, and what each of them gets.

    Attributes:
        address: of a running Ray cluster, ``HOST:PORT`` or ``auto`` for the one that this machine is part of; None
            starts one of this machine alone, for the time of the search.
        cpus_per_trial: cores.
        gpus_per_trial: accelerators; a fraction shares one.
    """

    address: str | None = None
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0

    def __post_init__(self) -> None:
        if self.cpus_per_trial < 1:
            raise ConfigError(f"cpus_per_trial: expected at least 1, got {self.cpus_per_trial}")
        gpus = self.gpus_per_trial
        if not math.isfinite(gpus) or gpus < 0 or (gpus > 1 and not gpus.is_integer()):
            raise ConfigError(f"gpus_per_trial: expected a fraction of one or a whole number, got {gpus:g}")


def do_by_ray(search: Search, make_trial: MakeTrial, table: TrialTable, cluster: Cluster) -> Path:
    """Do the trials by Ray Tune, from where an interrupted search left off.

    After every validation a trial reports its score and a checkpoint: ASHA stops the bad ones, and the trial of a
    worker that dies goes on from there, at most three times. Only trials that have ended of themselves can be chosen.
    Ray's own files, a folder a trial, are in ``ray/`` in the folder of the search.

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
    from ray import air, tune
    from ray.tune.schedulers import ASHAScheduler

    analysis = tune.run(
        _train,
        name=RAY_FOLDER,
        storage_path=str(table.output.resolve()),
        metric="best_valid_score",
        mode="max" if table.bigger else "min",
        config={"cpus": cluster.cpus_per_trial},
        num_samples=table.total,
        search_alg=_make_searcher(search, make_trial, table),
        scheduler=ASHAScheduler(grace_period=_GRACE, reduction_factor=_REDUCTION, max_t=10**9),
        resources_per_trial={"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial},
        checkpoint_config=air.CheckpointConfig(num_to_keep=1),
        trial_dirname_creator=_folder_name,
        max_failures=_MAX_RESTARTS,
        raise_on_failed_trial=False,
        reuse_actors=False,  # a process of its own for each trial
        resume="AUTO",
        verbose=0,
    )
    if not all(trial.is_finished() for trial in analysis.trials):
        raise TrainingError("Ray stopped before the search was over; it continues by the same command")
    best, score = table.the_best()
    trial = next(trial for trial in analysis.trials if trial.config["number"] == best.number)
    checkpoints = Path(trial.checkpoint.dir_or_data) / CHECKPOINTS
    kept = load(checkpoints / BEST)["best_valid_result"][table.metric]
    if not math.isclose(kept, score):
        raise TrainingError(f"{checkpoints}: these weights have {table.metric} {kept}, not the trial's {score}")
    return checkpoints


def _folder_name(trial: Any) -> str:
    return f"trial-{trial.config['number']:03d}"


def _train(config: dict[str, Any]) -> None:
    """One trial, in a process that Ray starts on any of its machines.

    Args:
        config: ``number``, ``run`` (as a dictionary) and ``cpus``.
    """
    import ray
    import torch
    from ray.air import session
    from ray.air.checkpoint import Checkpoint

    torch.set_num_threads(config["cpus"])
    # RecBole makes those accelerators visible that gpu_id names, which may be another trial's.
    options = {**config["run"]["options"], "gpu_id": ",".join(map(str, ray.get_gpu_ids()))}
    run = Run(**{**config["run"], "options": options})
    folder = Path(session.get_trial_dir()) / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    checkpoint = session.get_checkpoint()
    if checkpoint is not None:
        _copy_run(checkpoint, folder)

    def report(metrics: dict[str, Any]) -> None:
        session.report(metrics, checkpoint=Checkpoint.from_directory(str(folder)))

    def report_validation(curve: LearningCurve) -> None:
        told = {"valid_score": curve.latest, "best_valid_score": curve.best}
        report({"status": "stopped", **told, "epochs": curve.epochs, "training_seconds": curve.seconds()})

    record = attempt(run, folder, report_validation)
    (folder / CHECKPOINTS / LAST).unlink(missing_ok=True)
    report({**record, "best_valid_score": record.get("valid_score", float("nan"))})
    shutil.rmtree(folder)


def _copy_run(checkpoint: Any, folder: Path) -> None:
    """What the run wrote into a checkpoint, without Ray's own files: one of them marks a checkpoint as temporary, and
    copied along it would do so with all later ones."""
    with checkpoint.as_directory() as before:
        shutil.copytree(Path(before) / CHECKPOINTS, folder / CHECKPOINTS)
        shutil.copy(Path(before) / CURVE, folder / CURVE)


def _make_searcher(search: Search, make_trial: MakeTrial, table: TrialTable) -> Any:
    """``search`` as Ray Tune asks for it."""
    from ray.tune.search import Searcher

    class TrialSearcher(Searcher):
        """Suggests trials and takes what came of them; its state is ``search``, the table and the open trials."""

        def __init__(self) -> None:
            super().__init__()
            self._search = search
            self._open: dict[str, Trial] = {}

        def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
            return True

        def suggest(self, trial_id: str) -> Any:
            suggestion = self._search.next()
            if suggestion is None:
                return Searcher.FINISHED
            trial = self._open[trial_id] = make_trial(*suggestion)
            return {"number": trial.number, "run": asdict(trial.run)}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            trial, record = self._open.pop(trial_id), dict(result or {})
            if error:
                told = f"given up after {_MAX_RESTARTS} restarts; see error.txt in ray/trial-{trial.number:03d}"
                record = {"status": "failed", "error": told}
            elif record["status"] != "failed":
                record["valid_score"] = record["best_valid_score"]
            self._search.report(trial.number, table.add(trial, record))

        def save(self, checkpoint_path: str) -> None:
            state = (self._search, self._open, table.rows, table.best)
            with open(checkpoint_path, "wb") as file:
                pickle.dump(state, file)

        def restore(self, checkpoint_path: str) -> None:
            with open(checkpoint_path, "rb") as file:
                self._search, self._open, table.rows, table.best = pickle.load(file)

    return TrialSearcher()


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """A connection to Ray, or a Ray of this machine alone.

    Raises:
        ConfigError: if Ray is missing, the cluster can't be reached, or has too little for a trial.
    """
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # it would take an interrupted search for a finished one
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one announces itself even if it is to be silent
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1"  # how often it is written down where the search is
    ray = _import_ray()
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        os.environ["PYTHONPATH"] = search_path()
        ray.init(num_cpus=available_cores(), include_dashboard=False, **quiet)
    else:
        _check_reachable(ray, cluster.address)
        try:
            ray.init(address=cluster.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"address: no Ray cluster at {cluster.address}: {error}") from error
    try:
        _check_resources(cluster, ray.nodes())
        with interrupts.raised():  # Ray has put a handler of its own in place
            yield
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray

        import_module("ray.tune")  # needs more packages than ray itself
    except ImportError as error:
        raise ConfigError(f'tool ray: {error}; pip install "recbole-cfgdiff[ray]"') from error
    return ray


def _check_reachable(ray: Any, address: str) -> None:
    """Ray itself waits for minutes where nothing answers, or something else than Ray."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ConfigError(f"address: expected HOST:PORT or auto, got {address}")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
        answers = ray._raylet.check_health(address, timeout=_CONNECT_SECONDS, skip_version_check=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"address: nothing answers at {address}: {error}") from error
    if not answers:
        raise ConfigError(f"address: what answers at {address} is no Ray cluster")


def _check_resources(cluster: Cluster, nodes: list[dict[str, Any]]) -> None:
    """A trial that fits on no machine would wait forever."""
    most_cpus = max(node["Resources"].get("CPU", 0) for node in nodes)
    most_gpus = max(node["Resources"].get("GPU", 0) for node in nodes)
    if cluster.cpus_per_trial > most_cpus or cluster.gpus_per_trial > most_gpus:
        raise ConfigError(
            f"cpus_per_trial, gpus_per_trial: a trial is to have {cluster.cpus_per_trial} cores and "
            f"{cluster.gpus_per_trial:g} accelerators, but the machine with most has {most_cpus:g} and {most_gpus:g}"
        )
