"""Whole runs: from options to trained model and metrics. The counterparts of ``recbole.quick_start``."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from recbole.utils import init_seed

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.overlay.guidance_choice import check_guidance_choice
from recbole_cfgdiff.overlay.option_rules import check_compares
from recbole_cfgdiff.overlay.plugins import check_found_by_name
from recbole_cfgdiff.overlay.trainer import run_dir_of
from recbole_cfgdiff.overlay.unread_options import check_all_are_read
from recbole_cfgdiff.runs.prepare import configure, load_data, load_trained, make_trainer, open_log, prepare_config
from recbole_cfgdiff.runs.processes import check_devices, run_processes
from recbole_cfgdiff.runs.single import Prepared, own_folder


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
            are then the defaults; with ``fit="all"`` so does ``like`` a run to train like, on every row.
        saved: write checkpoints, and test the best one. Otherwise the last epoch is tested.
        nproc: processes on this machine; more than 1 needs CUDA, which RecBole 1.2.1 trains on by nccl only.
        world_size: processes on all machines; -1 is ``nproc``.
        ip: address of the first process.
        port: port of the first process.
        group_offset: rank of this machine's first process.

    Returns:
        what RecBole's returns, ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and
        ``test_result``, and ``run_dir``, the run's folder or None where nothing was saved. With ``fit="all"`` there
        are no metrics, but ``fit``, ``like`` and ``epochs``, how many.

    Raises:
        ConfigError: on a mistake in the options or in the data, before training starts.
        TrainingError: if the loss is not finite.
    """
    options = dict(config_dict or {})
    is_alone = nproc == 1 and world_size <= 0
    if not is_alone and not torch.cuda.is_available():
        raise ConfigError(f"nproc {nproc}: RecBole trains in several processes on CUDA only, and there is none here")
    config = configure(model, dataset, config_file_list, options)
    if saved:
        check_found_by_name(config.model_class)
    run_dir = run_dir_of(config)
    # The first machine's process has the folder for those of all machines.
    with own_folder(run_dir, config) if saved and group_offset == 0 else nullcontext():
        if is_alone:
            return prepare_config(config).fit_and_test(saved)
        check_devices(nproc, config["gpu_id"])
        load_data(config)  # before the processes start: mistakes are reported here, a download is not raced for
        options.update(
            run_name=config["run_name"],
            world_size=world_size if world_size > 0 else nproc,
            ip=ip,
            port=str(port),
            nproc=nproc,
            offset=group_offset,
        )
        return run_processes(nproc, model, dataset, config_file_list, options, saved)


def run_recbole(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: dict[str, Any] | None = None,
    saved: bool = True,
) -> dict[str, Any]:
    """``run`` under the name that RecBole has for it in a single process. Arguments, result and errors as there."""
    return run(model, dataset, config_file_list, config_dict, saved)


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
    check_compares(config)
    init_seed(config["seed"], config["reproducibility"])
    logger = getLogger()
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
    open_log(config)
    logging.basicConfig(level=logging.ERROR)
    with own_folder(run_dir_of(config), config) if saved else nullcontext():
        dataset, train_data, valid_data, test_data = load_data(config)
        trainer = make_trainer(config, train_data)
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
    open_log(trained.config)
    getLogger().info(trained.config)
    return (
        trained.config,
        trained.trainer.model,
        trained.dataset,
        trained.train_data,
        trained.valid_data,
        trained.test_data,
    )
