"""The trials of a search done by Ray Tune: several at a time, on one machine or many, bad ones stopped early."""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.files import read_json, write_json
from recbole_cfgdiff.overlay.checkpoint import BEST, LAST, load
from recbole_cfgdiff.runs import interrupts
from recbole_cfgdiff.runs.pool import available_cores, kind_of, search_path
from recbole_cfgdiff.runs.progress import Epochs
from recbole_cfgdiff.runs.spec import CHECKPOINTS, CURVE, Run
from recbole_cfgdiff.runs.worker import LearningCurve, attempt
from recbole_cfgdiff.tuning.algorithms import Search
from recbole_cfgdiff.tuning.trials import TOLD, MakeTrial, Trial, TrialTable

RAY_FOLDER = "ray"
JOURNAL = "search.json"
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

    Ray's own files are in ``ray/N/`` in the folder of the search, a folder a trial, a new N for each time that the
    search is started or continued: Ray pickles its state, and so is never given files that were there before. A search
    goes on by ``search.json``; a trial that was interrupted, from its own checkpoint.

    Args:
        search: what is tried.
        make_trial: a trial of what is suggested.
        table: gets what came of it.
        cluster: what a trial gets; ``connected`` to it.

    Returns:
        the folder of the best trial's checkpoint.

    Raises:
        ConfigError: if ``search.json`` is damaged.
        TrainingError: if no trial ended, or if Ray lost the best one's weights.
    """
    journal = _Journal(table.output / JOURNAL)
    begun = _replay(journal.events, search, make_trial, table)
    if len(table.rows) < table.total:
        _run(_make_searcher(search, make_trial, table, journal, begun), table, cluster, begun)
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


def _run(searcher: Any, table: TrialTable, cluster: Cluster, begun: list[Trial]) -> None:
    """Have Ray Tune do what is not done."""
    from ray import air, tune
    from ray.tune.schedulers import ASHAScheduler

    folder = table.output.resolve() / RAY_FOLDER
    analysis = tune.run(
        tune.with_parameters(_train, left={trial.number: _what_is_left(table.output, trial) for trial in begun}),
        name=str(max(_sessions(table.output), default=0) + 1),
        storage_path=str(folder),
        metric="best_valid_score",
        mode="max" if table.bigger else "min",
        config={"cpus": cluster.cpus_per_trial},
        num_samples=table.total - len(table.rows),
        search_alg=searcher,
        scheduler=ASHAScheduler("validations", grace_period=_GRACE, reduction_factor=_REDUCTION, max_t=10**9),
        resources_per_trial={"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial},
        checkpoint_config=air.CheckpointConfig(num_to_keep=1),
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


_Files = dict[str, bytes]  # by path below the run's folder


def _what_is_left(output: Path, trial: Trial) -> _Files:
    """What a trial that was interrupted goes on from, wherever it will be done; empty if there is nothing."""
    names = (CURVE, f"{CHECKPOINTS}/{LAST}", f"{CHECKPOINTS}/{BEST}")
    for folder in (checkpoints.parent for checkpoints in _checkpoints(output, trial.number)):
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
    else:
        for name, content in left.get(config["number"], {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)

    def report(metrics: dict[str, Any]) -> None:
        session.report(metrics, checkpoint=Checkpoint.from_directory(str(folder)))

    def report_validation(curve: LearningCurve) -> None:
        told = {"valid_score": curve.latest, "best_valid_score": curve.best, "validations": curve.validations}
        done = {"epochs": curve.epochs, "most_epochs": curve.most_epochs, "training_seconds": curve.seconds()}
        report({"status": "stopped", **told, **done})

    record = attempt(run, folder, report_validation)
    if "traceback" in record:
        print(record["traceback"])  # Ray shows it
    (folder / CHECKPOINTS / LAST).unlink(missing_ok=True)
    report({**record, "best_valid_score": record.get("valid_score", float("nan"))})
    shutil.rmtree(folder)


def _copy_run(checkpoint: Any, folder: Path) -> None:
    """What the run wrote into a checkpoint, without Ray's own files: one of them marks a checkpoint as temporary, and
    copied along it would do so with all later ones."""
    with checkpoint.as_directory() as before:
        shutil.copytree(Path(before) / CHECKPOINTS, folder / CHECKPOINTS)
        shutil.copy(Path(before) / CURVE, folder / CURVE)


class _Journal:
    """What a search has suggested and what came of it, in their order, as plain values on disk.

    Args:
        path: of the file, which need not be there.

    Attributes:
        events: ``{"suggested": NUMBER}`` and ``{"over": NUMBER, "record": RECORD}``.

    Raises:
        ConfigError: if the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.events: list[dict[str, Any]] = []
        if path.exists():
            try:
                self.events = _checked(read_json(path))
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"{path}: damaged: {error}; remove it to start the search from the beginning"
                ) from error

    def add(self, event: dict[str, Any]) -> None:
        """Add what happened."""
        self.events.append(event)
        write_json(self._path, self.events)


def _checked(events: Any) -> list[dict[str, Any]]:
    """Events that a search can have left.

    Raises:
        ValueError: otherwise.
    """
    suggested, open_ = 0, set()
    for event in events if isinstance(events, list) else [None]:
        if event == {"suggested": suggested + 1}:
            suggested += 1
            open_.add(suggested)
        elif isinstance(event, dict) and set(event) == {"over", "record"} and event["over"] in [*open_]:
            open_.remove(event["over"])
            if not _is_record(event["record"]):
                raise ValueError(f"unexpected record of trial {event['over']}")
        else:
            raise ValueError("unexpected event")
    return events


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict) or set(record) != set(TOLD):
        return False
    if record["status"] == "failed":
        return isinstance(record["error"], str)
    numbers = (record["valid_score"], record["training_seconds"], record["epochs"])
    return record["status"] in ("ended", "stopped") and all(type(value) in (int, float) for value in numbers)


def _replay(events: Sequence[dict[str, Any]], search: Search, make_trial: MakeTrial, table: TrialTable) -> list[Trial]:
    """Have a search and a table go through what happened; the trials that have begun and are not over."""
    begun: dict[int, Trial] = {}
    for event in events:
        if "suggested" in event:
            if (suggestion := search.next()) is None:
                raise ConfigError(f"{table.output / JOURNAL}: damaged: more trials than there are combinations")
            begun[suggestion[0]] = make_trial(*suggestion)
        else:
            trial = begun.pop(event["over"])
            table.progress.skip(kind_of(trial.run))
            _take(trial, event["record"], search, table)
    return list(begun.values())


def _take(trial: Trial, record: dict[str, Any], search: Search, table: TrialTable) -> None:
    """What came of a trial."""
    if record["status"] == "ended":
        table.progress.took(kind_of(trial.run), record["training_seconds"])
    search.report(trial.number, table.add(trial, record))


def _make_searcher(
    search: Search, make_trial: MakeTrial, table: TrialTable, journal: _Journal, begun: Sequence[Trial]
) -> Any:
    """``search`` as Ray Tune asks for it; trials that have ``begun`` come first."""
    from ray.tune.search import Searcher

    class TrialSearcher(Searcher):
        """Suggests trials and takes what came of them."""

        def __init__(self) -> None:
            super().__init__()
            self._begun = list(begun)
            self._open: dict[str, Trial] = {}

        def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
            return True

        def suggest(self, trial_id: str) -> Any:
            if self._begun:
                trial = self._begun.pop(0)
            elif (suggestion := search.next()) is not None:
                trial = make_trial(*suggestion)
                journal.add({"suggested": trial.number})
            else:
                return Searcher.FINISHED
            self._open[trial_id] = trial
            table.progress.start(str(trial.run), kind_of(trial.run))
            return {"number": trial.number, "run": asdict(trial.run)}

        def on_trial_result(self, trial_id: str, result: Any) -> None:
            if "most_epochs" in result:
                epochs = Epochs(result["epochs"], result["most_epochs"], result["training_seconds"])
                table.progress.update(str(self._open[trial_id].run), epochs)
            table.progress.line()

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            trial, record = self._open.pop(trial_id), dict(result or {})
            if error:
                told = f"given up after {_MAX_RESTARTS} restarts; see its error.txt, trial-{trial.number:03d} in ray/"
                record = {"status": "failed", "error": told}
            elif record["status"] != "failed":
                record["valid_score"] = record["best_valid_score"]
            record = {name: record.get(name) for name in TOLD}
            table.progress.end(str(trial.run))
            journal.add({"over": trial.number, "record": record})
            _take(trial, record, search, table)

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the search goes on by its journal."""

        def restore(self, checkpoint_path: str) -> None:
            raise NotImplementedError

    return TrialSearcher()


def trials_at_a_time(cluster: Cluster) -> int:
    """How many trials Ray does at a time; ``connected`` to it."""
    import ray

    resources = ray.cluster_resources()
    by_gpus = resources.get("GPU", 0) / cluster.gpus_per_trial if cluster.gpus_per_trial else math.inf
    return max(1, int(min(resources.get("CPU", 1) / cluster.cpus_per_trial, by_gpus)))


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """A connection to Ray, or a Ray of this machine alone.

    Raises:
        ConfigError: if Ray is missing, the cluster can't be reached, or has too little for a trial.
    """
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # it would take an interrupted search for a finished one
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one announces itself even if it is to be silent
    ray = import_ray()
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


def import_ray() -> Any:
    """Ray, with its Tune.

    Raises:
        ConfigError: if it, or a package that it needs, is missing.
    """
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
