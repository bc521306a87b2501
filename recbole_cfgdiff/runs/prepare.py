"""From options to a run that is ready to train: configuration, data, model, trainer."""

from __future__ import annotations

import logging
import sys
import time
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole.utils import init_logger, init_seed

from recbole_cfgdiff import data
from recbole_cfgdiff.compat import complete_message
from recbole_cfgdiff.data.atomic_data import AtomicData
from recbole_cfgdiff.errors import ConfigError, reported_if_raised_by_recbole, reported_if_too_large
from recbole_cfgdiff.files import errors_name
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.config import Config, as_they_are, parse_literal, resolve_model
from recbole_cfgdiff.overlay.foreign_options import options_of_checkpoint
from recbole_cfgdiff.overlay.guidance_choice import check_guidance_choice
from recbole_cfgdiff.overlay.hazards import check_files_of_model
from recbole_cfgdiff.overlay.kept_data import keep_or_check
from recbole_cfgdiff.overlay.older_weights import ids_of, start_from
from recbole_cfgdiff.overlay.options import FIXED_AT_RESUME
from recbole_cfgdiff.overlay.plugins import import_plugins
from recbole_cfgdiff.overlay.restoring import load_model_state
from recbole_cfgdiff.overlay.trainer import get_trainer
from recbole_cfgdiff.overlay.unread_options import check_all_are_read
from recbole_cfgdiff.runs.single import Prepared


def prepare(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: dict[str, Any] | None = None,
) -> Prepared:
    """Everything of a run up to its training, in this process. Arguments and errors as in ``run``."""
    return prepare_config(configure(model, dataset, config_file_list, dict(config_dict or {})))


def prepare_config(config: Config, known: AtomicData | None = None) -> Prepared:
    """As ``prepare``; ``known`` as of ``data.create_dataset``."""
    data.download_if_missing(config)  # before the log begins: an unknown name would drown in the options
    init_seed(config["seed"], config["reproducibility"])
    open_log(config)
    logger = getLogger()
    # First in the log: which rows are left out, and why.
    dataset_, train_data, valid_data, test_data = load_data(config, known)
    logger.info(config)
    logger.info(dataset_)
    started = time.perf_counter()
    trainer = make_trainer(config, train_data)
    model_seconds = time.perf_counter() - started
    trainer.tensorboard.open()
    logger.info(trainer.model)
    check_guidance_choice(trainer, valid_data)
    if config["resume"]:
        trainer.resume_checkpoint(checkpoint.find(config["resume"], checkpoint.LAST))
    elif config["init_from"]:
        start_from(trainer.model, config, dataset_)
    return Prepared(config, dataset_, trainer, train_data, valid_data, test_data, model_seconds)


def load_trained(model_file: str | Path) -> Prepared:
    """Load a trained model with its data and a trainer to evaluate it with; nothing is logged. Arguments and errors as
    in ``load_data_and_model``."""
    path = checkpoint.find(model_file, checkpoint.BEST)
    state = checkpoint.load(path)
    config = _config_of(state, path)
    init_seed(config["seed"], config["reproducibility"])
    dataset, train_data, valid_data, test_data = load_data(config)
    trainer = make_trainer(config, train_data)
    if state.get("ids") not in (None, ids_of(trainer.model, dataset)):  # whose scores would be taken for others'
        raise ConfigError(
            f"checkpoint {path}: the data set {config['dataset']} has other items or users by now, or in another "
            f"order; train it anew by run --fit=all --like={path.parent}, or convert the data under another name"
        )
    load_model_state(trainer.model, state, path)
    trainer.model.eval()
    return Prepared(config, dataset, trainer, train_data, valid_data, test_data)


def configure(
    model: str | None, dataset: str | None, config_file_list: list[str] | None, options: dict[str, Any]
) -> Config:
    resume, like = (parse_literal(str(options.get(name))) for name in ("resume", "like"))
    if resume or like:
        import_plugins(parse_literal(str(options.get("plugins"))))  # the checkpoint's model may be one of theirs
    if resume:
        return _configure_resumed(
            checkpoint.find(str(resume), checkpoint.LAST), model, dataset, config_file_list, options
        )
    if like:
        return _configure_like(checkpoint.find(str(like), checkpoint.BEST), model, dataset, config_file_list, options)
    config = Config(model, dataset, config_file_list, options)
    for name in ("resume", "like"):
        if config[name]:
            raise ConfigError(f"{name}: give it on the command line, not in a file; its options are those of the run")
    check_all_are_read([config])
    return config


def _configure_resumed(
    path: Path, model: str | None, dataset: str | None, config_file_list: list[str] | None, options: dict[str, Any]
) -> Config:
    state = _load_same(path, model, dataset, config_file_list)
    # On the same device: that of the process is set by the first, on CUDA for good.
    device: dict[str, Any] = {name: options[name] for name in ("gpu_id", "use_gpu") if name in options}
    before, config = (_config_of(state, path, changes) for changes in (device, options))
    check_all_are_read([config], names=options)
    for name in FIXED_AT_RESUME:
        if str(config[name]).lower() != str(before[name]).lower():
            raise ConfigError(
                f"{name}: {options['resume']} was trained and validated with {before[name]}; start a run of its own for"
                " another"
            )
    return config


def _configure_like(
    path: Path, model: str | None, dataset: str | None, config_file_list: list[str] | None, options: dict[str, Any]
) -> Config:
    """The configuration of a run with the options of another, and as many epochs as that one's best had by then."""
    state = _load_same(path, model, dataset, config_file_list)
    # What the checkpoint names is not opened.
    chosen: dict[str, Any] = {"epochs": state["epoch"] + 1, **dict.fromkeys(("resume", "run_name", "init_from"))}
    if "guidance_scales" in state["options"]:
        chosen["guidance_scales"] = None  # guidance_scale is the chosen one
    config = _config_of(state, path, {**chosen, **options})
    check_all_are_read([config], names=options)
    return config


def _load_same(
    path: Path, model: str | None, dataset: str | None, config_file_list: list[str] | None
) -> dict[str, Any]:
    """The checkpoint of a run whose options are taken over.

    Raises:
        ConfigError: if files of options are given beside it, or if it is of another model or data set.
    """
    if config_file_list:
        raise ConfigError(f"config_files: the options are those of {path}; give changes as --key=value")
    state = checkpoint.load(path)
    given_model = resolve_model(model).__name__ if model else None
    for name, given in (("model", given_model), ("dataset", dataset)):
        if given and given != state[name]:
            raise ConfigError(f"{name}: {path.parent} is a run of {state[name]}, not of {given}")
    return state


def _config_of(state: dict[str, Any], path: Path, changes: dict[str, Any] | None = None) -> Config:
    """The configuration that a checkpoint was written with, but for what the user changes.

    Raises:
        ConfigError: if it sets options that are the user's to set.
    """
    options = options_of_checkpoint(state["options"], resolve_model(state["model"]), path)
    return Config(state["model"], state["dataset"], config_dict={**as_they_are(options), **(changes or {})})


def load_data(config: Config, known: AtomicData | None = None) -> tuple[Any, Any, Any, Any]:
    """The data set and its training, validation and test loader. Arguments as of ``data.create_dataset``."""
    dataset = data.create_dataset(config, known)
    loaders = data.data_preparation(config, dataset, getattr(config.model_class, "train_loader", None))
    keep_or_check(config, loaders)
    return (dataset, *loaders)


def make_trainer(config: Config, train_data: Any) -> Any:
    model = _make_model(config, train_data)
    if config["fit"] != "all" and max(config["topk"]) >= train_data._dataset.item_num:
        raise ConfigError(
            f"topk: {max(config['topk'])} is more than the {train_data._dataset.item_num - 1} items there are"
        )
    return get_trainer(config)(config, model)


def _make_model(config: Config, train_data: Any) -> Any:
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    check_files_of_model(config, train_data._dataset)
    told = f"model {config['model']}"
    with reported_if_raised_by_recbole(told), reported_if_too_large(told):
        return config.model_class(config, train_data._dataset).to(config["device"])


def open_log(config: Config) -> None:
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
