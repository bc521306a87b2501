"""Whole runs: from options to trained model and metrics. The counterparts of ``recbole.quick_start``."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import recbole.data.dataloader
import torch
from recbole.utils import init_logger, init_seed, set_color

from recbole_cfgdiff import checkpoint, data
from recbole_cfgdiff import model as models
from recbole_cfgdiff.compat import complete_message
from recbole_cfgdiff.config import Config, as_they_are, parse_literal, resolve_model
from recbole_cfgdiff.errors import ConfigError, TrainingError, reported_as_config_error, reported_as_training_error
from recbole_cfgdiff.files import errors_name, write_json
from recbole_cfgdiff.foreign_options import options_of_checkpoint
from recbole_cfgdiff.guidance_choice import (
    check_guidance_choice,
    choose_guidance_scale,
    store_guidance_choice,
    wants_choice,
)
from recbole_cfgdiff.hazards import check_files_of_model
from recbole_cfgdiff.kept_data import keep_or_check
from recbole_cfgdiff.restoring import load_model_state
from recbole_cfgdiff.run_folder import run_folder
from recbole_cfgdiff.run_options import DATA_AND_METRICS, ROWS
from recbole_cfgdiff.trainer import get_trainer, run_dir_of
from recbole_cfgdiff.unread_options import check_all_are_read

_RESULT = "result.json"


def run(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: dict[str, Any] | None = None,
    saved: bool = True,
    nproc: int = 1,
    world_size: int = -1,
    ip: str = "localhost",
    port: str = "5678",
    group_offset: int = 0,
) -> dict[str, Any]:
    """Train and test a model; the counterpart of ``recbole.quick_start.run``.

    Args:
        model: name of a model; None takes it from the options.
        dataset: name of a data set; None takes it from the options.
        config_file_list: YAML files.
        config_dict: options over those of the files; ``resume`` names an interrupted run to continue, whose options
            are then the defaults.
        saved: write checkpoints, and test the best one. Otherwise the last epoch is tested.
        nproc: processes on this machine; more than 1 needs CUDA, which RecBole 1.2.1 trains on by nccl only.
        world_size: processes on all machines; -1 is ``nproc``.
        ip: address of the first process.
        port: port of the first process.
        group_offset: rank of this machine's first process.

    Returns:
        what RecBole's returns, ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and
        ``test_result``, and ``run_dir``, the run's folder or None where nothing was saved.

    Raises:
        ConfigError: on a mistake in the options or in the data, before training starts.
        TrainingError: if the loss is not finite.
    """
    options = dict(config_dict or {})
    is_alone = nproc == 1 and world_size <= 0
    if not is_alone and not torch.cuda.is_available():
        raise ConfigError(f"nproc {nproc}: RecBole trains in several processes on CUDA only, and there is none here")
    config = _make_config(model, dataset, config_file_list, options)
    run_dir = run_dir_of(config)
    # The first machine's process has the folder for those of all machines.
    with _own_folder(run_dir, config) if saved and group_offset == 0 else nullcontext():
        if is_alone:
            return _run(config, saved)
        _check_devices(nproc, config["gpu_id"])
        _load_data(config)  # before the processes start: mistakes are reported here, a download is not raced for
        options.update(
            run_name=config["run_name"],
            world_size=world_size if world_size > 0 else nproc,
            ip=ip,
            port=str(port),
            nproc=nproc,
            offset=group_offset,
        )
        return _run_processes(nproc, model, dataset, config_file_list, options, saved)


@contextmanager
def _own_folder(run_dir: Path, config: Config) -> Iterator[None]:
    """Have the run's folder for this process, from before anything is trained until the result is written.

    Raises:
        ConfigError: if another process trains in it, or if a new run would be written over another.
    """
    with run_folder(run_dir):
        if not config["resume"]:
            if any((run_dir / name).exists() for name in (checkpoint.LAST, _RESULT)):
                raise ConfigError(f"run_name: {run_dir} has a run already; choose another name, or --resume={run_dir}")
            (run_dir / checkpoint.BEST).unlink(missing_ok=True)  # of a run that was killed before its first last.pth
        yield


def _run_processes(nproc: int, *arguments: Any) -> dict[str, Any]:
    """The run by several processes on this machine, which end with this one."""
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    group = torch.multiprocessing.spawn(_run_process, args=(*arguments, queue), nprocs=nproc, join=False)
    try:
        while not group.join():
            pass
    except torch.multiprocessing.ProcessRaisedException:
        if queue.empty():
            raise
        raise queue.get() from None
    finally:
        for process in group.processes:
            process.kill()
            process.join()
    return queue.get()


def run_recbole(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: dict[str, Any] | None = None,
    saved: bool = True,
) -> dict[str, Any]:
    """``run`` under the name that RecBole has for it in a single process. Arguments, result and errors as there."""
    return run(model, dataset, config_file_list, config_dict, saved)


def _check_devices(nproc: int, gpu_id: str) -> None:
    devices = min(len(gpu_id.split(",")), torch.cuda.device_count())
    if nproc > devices:
        raise ConfigError(
            f"nproc {nproc}: expected at most one process for each device that gpu_id names, got gpu_id {gpu_id!r} and "
            f"{devices} such here; name one for each process, as in gpu_id=0,1"
        )


def _run_process(rank: int, *arguments: Any) -> None:
    """One of several processes; the first puts its result into the queue, any of them what ended it."""
    model, dataset, config_file_list, options, saved, queue = arguments
    try:
        result = _run(_make_config(model, dataset, config_file_list, {**options, "local_rank": rank}), saved)
    except (ConfigError, TrainingError) as error:
        queue.put(error)
        raise  # which ends the others too, wherever they wait for this one
    torch.distributed.destroy_process_group()
    if rank == 0:
        queue.put(result)


def _run(config: Config, saved: bool) -> dict[str, Any]:
    prepared = _prepare(config)
    logger = getLogger()
    result = prepared.fit_and_test(saved)
    logger.info(set_color("best valid ", "yellow") + f": {result['best_valid_result']}")
    logger.info(set_color("test result", "yellow") + f": {result['test_result']}")
    return result


class Prepared(NamedTuple):
    """A run that is ready to train.

    Attributes:
        config: the configuration.
        dataset: RecBole's data set.
        trainer: has the model.
        train_data: loader of the training part.
        valid_data: loader of the validation part.
        test_data: loader of the test part.
        model_seconds: what it took to make the model, which is when RecBole fits EASE, ItemKNN and SLIMElastic.
    """

    config: Config
    dataset: Any
    trainer: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model_seconds: float = 0.0

    def fit(self, saved: bool = True, callback_fn: Callable[[int, float], None] | None = None) -> dict[str, Any]:
        """Train and validate.

        Args:
            saved: write checkpoints.
            callback_fn: called after each validation, with the epoch and the validation score.

        Returns:
            ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result``, and of a model that chooses its
            guidance scale ``guidance_scale``, the chosen one, at which the former are, and ``guidance_curve``, the
            validation score by scale.
        """
        best_valid_score, best_valid_result = self.trainer.fit(
            self.train_data,
            self.valid_data,
            saved=saved,
            show_progress=self.config["show_progress"],
            callback_fn=callback_fn,
        )
        result = {
            "best_valid_score": best_valid_score,
            "valid_score_bigger": self.config["valid_metric_bigger"],
            "best_valid_result": best_valid_result,
        }
        return result | self._choose_guidance_scale(saved) if wants_choice(self.trainer) else result

    def _choose_guidance_scale(self, saved: bool) -> dict[str, Any]:
        best = self.trainer.run_dir / checkpoint.BEST
        if saved:
            load_model_state(self.trainer.model, checkpoint.load(best, self.config["device"]), best)
        choice = choose_guidance_scale(self.trainer, self.valid_data)
        if saved:
            store_guidance_choice(choice, best)
        return {
            "best_valid_score": choice.curve[choice.scale],
            "best_valid_result": choice.valid_result,
            "guidance_scale": choice.scale,
            "guidance_curve": choice.curve,
        }

    def test(self, load_best_model: bool = True) -> dict[str, float]:
        """The test metrics, of the best checkpoint or of the model as it is."""
        show_progress = self.config["show_progress"]
        return self.trainer.evaluate(self.test_data, load_best_model=load_best_model, show_progress=show_progress)

    def fit_and_test(self, saved: bool = True) -> dict[str, Any]:
        """What ``run`` returns; written as ``result.json`` into the run's folder if ``saved``.

        Raises:
            TrainingError: if the loss is not finite, or if the machine refuses something, such as more on a full disk.
        """
        run_dir = self.trainer.run_dir
        advice = (
            f"--resume={run_dir} goes on from its last checkpoint, or the same command anew where there is none yet"
        )
        with reported_as_training_error(advice if saved else "nothing was saved"):
            result = self.fit(saved)
            result["test_result"] = self.test(load_best_model=saved)
            result["run_dir"] = str(run_dir) if saved else None
            if saved and self.config["local_rank"] == 0:
                _write_result(result, self.config, run_dir)
        return result


def prepare(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: dict[str, Any] | None = None,
) -> Prepared:
    """Everything of a run up to its training, in this process. Arguments and errors as in ``run``."""
    return _prepare(_make_config(model, dataset, config_file_list, dict(config_dict or {})))


def _prepare(config: Config) -> Prepared:
    data.download_if_missing(config)  # before the log begins: an unknown name would drown in the options
    init_seed(config["seed"], config["reproducibility"])
    _open_log(config)
    logger = getLogger()
    # First in the log: which rows are left out, and why.
    dataset_, train_data, valid_data, test_data = _load_data(config)
    logger.info(config)
    logger.info(dataset_)
    started = time.perf_counter()
    trainer = _make_trainer(config, train_data)
    model_seconds = time.perf_counter() - started
    trainer.tensorboard.open()
    logger.info(trainer.model)
    check_guidance_choice(trainer, valid_data)
    if config["resume"]:
        trainer.resume_checkpoint(checkpoint.find(config["resume"], checkpoint.LAST))
    return Prepared(config, dataset_, trainer, train_data, valid_data, test_data, model_seconds)


def _open_log(config: Config) -> None:
    """RecBole's ``init_logger``, but that a line that can't be written is an error; logging prints a traceback and goes
    on."""
    (Path("log") / config["model"]).mkdir(parents=True, exist_ok=True)  # of two at once, one would fail in RecBole
    before = getLogger().handlers[:]
    init_logger(config)
    getLogger().addFilter(complete_message)
    for handler in getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler not in before:
            handler.handleError = partial(_handle_error, handler)  # type: ignore[method-assign]


def _handle_error(handler: logging.FileHandler, record: logging.LogRecord) -> None:
    """In place of ``Handler.handleError``, which is called while the error is handled. A line that can't be formatted
    stays a complaint."""
    if not isinstance(sys.exc_info()[1], OSError):
        logging.FileHandler.handleError(handler, record)
        return
    with errors_name(Path(handler.baseFilename)):
        raise


def _make_config(
    model: str | None, dataset: str | None, config_file_list: list[str] | None, options: dict[str, Any]
) -> Config:
    resume = parse_literal(str(options.get("resume")))
    if not resume:
        config = Config(model, dataset, config_file_list, options)
        if config["resume"]:
            raise ConfigError("resume: give it on the command line, not in a file; its options are those of the run")
        check_all_are_read([config])
        return config
    if config_file_list:
        raise ConfigError("config_files: a resumed run has its options; give changes as --key=value")
    path = checkpoint.find(str(resume), checkpoint.LAST)
    state = checkpoint.load(path)
    given_model = resolve_model(model).__name__ if model else None
    for name, given in (("model", given_model), ("dataset", dataset)):
        if given and given != state[name]:
            raise ConfigError(f"{name}: {resume} is a run of {state[name]}, not of {given}")
    # On the same device: that of the process is set by the first, on CUDA for good.
    device: dict[str, Any] = {name: options[name] for name in ("gpu_id", "use_gpu") if name in options}
    before, config = (_config_of(state, path, changes) for changes in (device, options))
    check_all_are_read([config], names=options)
    for name in (*DATA_AND_METRICS, *ROWS):
        if str(config[name]).lower() != str(before[name]).lower():
            raise ConfigError(
                f"{name}: {resume} was trained and validated with {before[name]}; start a run of its own for another"
            )
    return config


def _config_of(state: dict[str, Any], path: Path, changes: dict[str, Any] | None = None) -> Config:
    """The configuration that a checkpoint was written with, but for what the user changes.

    Raises:
        ConfigError: if it sets options that are the user's to set.
    """
    options = options_of_checkpoint(state["options"], resolve_model(state["model"]), path)
    return Config(state["model"], state["dataset"], config_dict={**as_they_are(options), **(changes or {})})


def _load_data(config: Config) -> tuple[Any, Any, Any, Any]:
    """The data set and its training, validation and test loader."""
    dataset = data.create_dataset(config)
    loaders = data.data_preparation(config, dataset, _train_loader(config.model_class))
    keep_or_check(config, loaders)
    return (dataset, *loaders)


def _train_loader(model_class: type) -> type | None:
    """The training loader of models that RecBole's own table of loaders does not have, or has for another model."""
    if issubclass(model_class, models.DiffRec):
        return data.UserDataLoader
    if issubclass(model_class, models.RecBoleDiffRec):
        return recbole.data.dataloader.UserDataLoader
    return None


def _make_model(config: Config, train_data: Any) -> Any:
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    with reported_as_config_error(f"model {config['model']}"):
        check_files_of_model(config, train_data._dataset)
        return config.model_class(config, train_data._dataset).to(config["device"])


def _make_trainer(config: Config, train_data: Any) -> Any:
    model = _make_model(config, train_data)
    if max(config["topk"]) >= train_data._dataset.item_num:
        raise ConfigError(
            f"topk: {max(config['topk'])} is more than the {train_data._dataset.item_num - 1} items there are"
        )
    with reported_as_config_error("training options"):
        return get_trainer(config)(config, model)


def _write_result(result: dict[str, Any], config: Config, run_dir: Path) -> None:
    """Write ``result.json``, with all options, into the run's folder."""
    record = {"model": config["model"], "dataset": config["dataset"], **result, "options": config.options}
    if not math.isfinite(record["best_valid_score"]):  # RecBole's mark of a run that was never validated
        record["best_valid_score"] = None
    write_json(run_dir / _RESULT, checkpoint.encode(record))


def objective_function(
    config_dict: dict[str, Any] | None = None, config_file_list: list[str] | None = None, saved: bool = True
) -> dict[str, Any]:
    """One trial of a hyperparameter search; the counterpart of ``recbole.quick_start.objective_function``.

    Args:
        config_dict: options, ``model`` and ``dataset`` among them unless a file has them.
        config_file_list: YAML files.
        saved: write checkpoints, and test the best one.

    Returns:
        ``model``, ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and ``test_result``. Unlike
        RecBole's it reports nothing to Ray, to which RecBole's reports the test result.
    """
    config = Config(config_dict=config_dict, config_file_list=config_file_list)
    check_all_are_read([config])
    init_seed(config["seed"], config["reproducibility"])
    logger = getLogger()
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
    _open_log(config)
    logging.basicConfig(level=logging.ERROR)
    with _own_folder(run_dir_of(config), config) if saved else nullcontext():
        dataset, train_data, valid_data, test_data = _load_data(config)
        trainer = _make_trainer(config, train_data)
        check_guidance_choice(trainer, valid_data)
        config["show_progress"] = False
        prepared = Prepared(config, dataset, trainer, train_data, valid_data, test_data)
        return {"model": config["model"], **prepared.fit_and_test(saved)}


def load_data_and_model(model_file: str | Path) -> tuple[Config, Any, Any, Any, Any, Any]:
    """Load a trained model with its data; the counterpart of ``recbole.quick_start.load_data_and_model``.

    Args:
        model_file: a run's folder, also of one of ``compare``, whose best epoch is loaded, or a ``best.pth`` or
            ``last.pth``.

    Returns:
        config, model (in evaluation mode), data set, training, validation and test loader.

    Raises:
        ConfigError: if the file is no checkpoint of ours (nothing in it is executed) or the data is gone.
    """
    trained = load_trained(model_file)
    _open_log(trained.config)
    getLogger().info(trained.config)
    return (
        trained.config,
        trained.trainer.model,
        trained.dataset,
        trained.train_data,
        trained.valid_data,
        trained.test_data,
    )


def load_trained(model_file: str | Path) -> Prepared:
    """Load a trained model with its data and a trainer to evaluate it with; nothing is logged. Arguments and errors as
    in ``load_data_and_model``."""
    path = checkpoint.find(model_file, checkpoint.BEST)
    state = checkpoint.load(path)
    config = _config_of(state, path)
    init_seed(config["seed"], config["reproducibility"])
    dataset, train_data, valid_data, test_data = _load_data(config)
    trainer = _make_trainer(config, train_data)
    load_model_state(trainer.model, state, path)
    trainer.model.eval()
    return Prepared(config, dataset, trainer, train_data, valid_data, test_data)
