"""RecBole's configuration with our models, our YAML files, and options that come as arguments only."""

from __future__ import annotations

import ast
import copy
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import recbole.config
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import InputType, ModelType, get_model

from recbole_cfgdiff.data.sequences import needs_sequences
from recbole_cfgdiff.errors import ConfigError, nearest, reported_if_raised_by_recbole
from recbole_cfgdiff.model import MODELS
from recbole_cfgdiff.names import check_name
from recbole_cfgdiff.overlay.foreign_options import check_data_options
from recbole_cfgdiff.overlay.hazards import check_hazards
from recbole_cfgdiff.overlay.hyperparameters import check_hyperparameters, default_options
from recbole_cfgdiff.overlay.option_names import check_option_names
from recbole_cfgdiff.overlay.option_rules import check_options
from recbole_cfgdiff.overlay.options import Group, names_of
from recbole_cfgdiff.overlay.plugins import import_plugins
from recbole_cfgdiff.overlay.yaml_files import read_yaml
from recbole_cfgdiff.properties import PROPERTIES, RECBOLE_PROPERTIES, find_config_file

# Names that papers use for models that RecBole calls otherwise.
MODEL_ALIASES = {"MultVAE": "MultiVAE"}


def resolve_model(name: str) -> type:
    """The model class called ``name``: ours first, then RecBole's.

    Raises:
        ConfigError: on an unknown name, with the nearest known ones, or if the model needs a package that is missing.
    """
    name = MODEL_ALIASES.get(name, name)
    if name in MODELS:
        return MODELS[name]
    names = {*MODELS, *MODEL_ALIASES, *(path.stem for path in (RECBOLE_PROPERTIES / "model").glob("*.yaml"))}
    try:
        model = get_model(name)
        if not inspect.isclass(model) or not issubclass(model, AbstractRecommender):
            raise ValueError(name)
        return model
    except (ValueError, AttributeError, ImportError) as error:
        if isinstance(error, ImportError) and name in names:
            raise ConfigError(f"model {name}: RecBole needs another package for it: {error}") from error
        similar = nearest(name, names, count=3)
        hint = f"; nearest: {', '.join(similar)}" if similar else ""
        advice = "a model of your own needs the file that registers it: --plugins=FILE.py, or import it in Python"
        raise ConfigError(f"unknown model {name}{hint}; {advice}") from error


_PATHS = ("data_path", "checkpoint_dir", "dataset_save_path", "dataloaders_save_path")


class Config(recbole.config.Config):
    """RecBole's Config, with the same meaning and precedence of options, except that

    - ``sys.argv`` is never read: command-line options come in ``config_dict`` (see ``recbole_cfgdiff.commands.cli``);
    - model names are resolved by ``resolve_model``, and our YAML files lie over RecBole's of the same name:
      RecBole's overall < our overall < RecBole's model < our model < RecBole's data set < our data set < the file
      ``NAME.yaml`` beside the data, which sets no more than ``foreign_options`` allows < given;
    - values given as text are read as Python literals, never evaluated as code (so ``1/3`` stays text);
    - a part of ``eval_args`` given leaves the rest of it as it is;
    - a class takes the YAML files of the classes it derives from, its own over theirs;
    - a name that nothing reads is an error;
    - ``eval_batch_size``, if not given, is ``full_sort_eval_batch_size`` where every evaluation is a full ranking.

    Args:
        model: a name or a model class; None takes ``model`` from the options.
        dataset: a name; None takes ``dataset`` from the options.
        config_file_list: YAML files, later ones first in precedence.
        config_dict: options over those of the files.

    Attributes:
        model_class: the class of the model.
        unread_options: names of given options that only other models read.
        options: all options before RecBole derived others from them, plain values only, without the place among
            several processes; with ``model`` and ``dataset`` they make the same Config again.

    Raises:
        ConfigError: on any mistake in the above.
    """

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _load_variable_config_dict(self, config_dict: dict[str, Any] | None) -> dict[str, Any]:
        return self._convert_config_dict(config_dict or {})

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        converted = {key: _plain_value(value) for key, value in config_dict.items()}
        if isinstance(converted.get("gpu_id"), (list, tuple)):
            converted["gpu_id"] = ",".join(map(str, converted["gpu_id"]))
        return converted

    def _load_config_files(self, file_list: list[str] | None) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for name in file_list or ():
            content = read_yaml(find_config_file(name))
            if not content:
                raise ConfigError(f"{name}: expected lines of `key: value`, found nothing")
            options.update(content)
        return options

    def _get_model_and_dataset(self, model: str | type | None, dataset: str | None) -> tuple[str, type, str]:
        import_plugins(self.external_config_dict.get("plugins"))
        model = model or self._given("model")
        model_class = model if inspect.isclass(model) else resolve_model(str(model))
        dataset = str(dataset or self._given("dataset"))
        check_name("dataset", dataset)
        self.unread_options = check_option_names(self.external_config_dict, model_class)
        return super()._get_model_and_dataset(model_class, dataset)

    def _given(self, name: str) -> Any:
        value = self.external_config_dict.get(name)
        if not value:
            misspelt = nearest(name, self.external_config_dict)
            hint = f" (is --{misspelt[0]} meant for it?)" if misspelt else ""
            raise ConfigError(f"{name}: none given; add --{name}=NAME{hint}")
        return value

    def _load_internal_config_dict(self, model: str, model_class: Any, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        # Ours drop the ratings, which context-aware models predict: RecBole has settings of its own for those.
        if model_class.type not in (ModelType.CONTEXT, ModelType.DECISIONTREE):
            self._overlay(PROPERTIES / "dataset" / f"{dataset}.yaml")
        data_path = self.external_config_dict.get("data_path", self.internal_config_dict["data_path"])
        beside_the_data = Path(str(data_path)) / dataset / f"{dataset}.yaml"
        if beside_the_data.is_file():
            options = read_yaml(beside_the_data)
            check_data_options(options, model_class, str(beside_the_data))
            _check_plain(options)
            self.internal_config_dict.update(options)

    def _update_internal_config_dict(self, file: str) -> dict[str, Any] | None:
        """RecBole calls this for each of its files in turn. Ours of the same name goes over it at once, but for a data
        set's, which come last; those of the model's classes go over what ``sample.yaml`` says of all data sets, such
        as how long a sequence is."""
        path = Path(file).resolve().relative_to(RECBOLE_PROPERTIES.resolve())
        loaded = super()._update_internal_config_dict(file)
        if path.parent != Path("dataset") or path.name == "sample.yaml":
            self._overlay(PROPERTIES / path)
        if path == Path("dataset/sample.yaml"):
            self.internal_config_dict.update(default_options(self.model_class))
        return loaded

    def _overlay(self, path: Path) -> None:
        if path.is_file():
            self.internal_config_dict.update(read_yaml(path))

    def _get_final_config_dict(self) -> dict[str, Any]:
        final = super()._get_final_config_dict()
        for name in ("topk", "metrics"):
            final[name] = list(final[name]) if isinstance(final[name], tuple) else final[name]
        if isinstance(final["eval_args"], dict):
            # A part of it given leaves the rest at our defaults; RecBole would fill in its own.
            final["eval_args"] = {**self.internal_config_dict["eval_args"], **final["eval_args"]}
        _check_plain(self.external_config_dict)
        check_hazards(final)
        check_options(final, self.external_config_dict)
        check_hyperparameters(final, self.model_class)
        self._check_epochs(final)
        if not final["use_gpu"]:
            final["gpu_id"] = ""  # which is all that RecBole 1.2.1 chooses the device by
        # RecBole joins a group of processes by those when a Config is made; a finished run is none of a group.
        of_the_process = names_of(Group.PROCESSES)
        kept = {key: value for key, value in final.items() if _is_plain(value) and key not in of_the_process}
        self.options = copy.deepcopy(kept)
        if "eval_batch_size" not in self.external_config_dict:
            del self.options["eval_batch_size"]
        return final

    def _check_epochs(self, options: dict[str, Any]) -> None:
        is_fitted_at_once = self.model_class.type is ModelType.TRADITIONAL
        if options.get("fit") == "all" and "epochs" not in self.external_config_dict and not is_fitted_at_once:
            raise ConfigError(
                "epochs: with fit=all no validation ends the training; give --like=RUN_FOLDER, of a run whose best "
                "epoch was found by validation, or --epochs=N"
            )

    def _set_train_neg_sample_args(self) -> None:
        super()._set_train_neg_sample_args()
        samples = self.final_config_dict["train_neg_sample_args"]["distribution"] != "none"
        if self.final_config_dict["MODEL_INPUT_TYPE"] is InputType.PAIRWISE and not samples:
            raise ConfigError(
                f"train_neg_sample_args: {self.model} learns from pairs of items here, of which one is sampled; give "
                "--train_neg_sample_args=\"{'distribution': 'uniform', 'sample_num': 1}\""
            )

    def _merge_external_config_dict(self) -> None:
        super()._merge_external_config_dict()
        for name in _PATHS:
            value = self.external_config_dict.get(name)
            if isinstance(value, str):
                self.external_config_dict[name] = os.path.expanduser(value)

    def _init_device(self) -> None:
        with reported_if_raised_by_recbole("options"):
            super()._init_device()

    def _set_default_parameters(self) -> None:
        loss_type = self.final_config_dict.get("loss_type")
        if not hasattr(self.model_class, "input_type") and loss_type not in (None, "CE", "BPR"):
            raise ConfigError(f"loss_type: expected CE or BPR, got {loss_type!r}")
        with reported_if_raised_by_recbole("options"):
            super()._set_default_parameters()
        if "eval_batch_size" not in self.external_config_dict and self._ranks_all_items_at_once():
            self.final_config_dict["eval_batch_size"] = self.final_config_dict["full_sort_eval_batch_size"]

    def _ranks_all_items_at_once(self) -> bool:
        """Whether ``eval_batch_size`` counts users x items. It counts rows under sampled evaluation and where RecBole
        itself evaluates sequential models, and user-item pairs to predict for models without ``full_sort_predict``:
        all far more memory each."""
        return (
            set(self.final_config_dict["eval_args"]["mode"].values()) == {"full"}
            and (self.final_config_dict["MODEL_TYPE"] is not ModelType.SEQUENTIAL or needs_sequences(self))
            and getattr(self.model_class, "full_sort_predict", None) is not AbstractRecommender.full_sort_predict
        )


def parse_literal(text: str) -> Any:
    """The value of a Python literal (``0.1``, ``[1, 2]``, ``{'a': 1}``, ``None``), or of true and false in any case;
    any other text is itself. RecBole evaluates it as code."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return value if value is None or isinstance(value, (str, int, float, list, tuple, dict)) else text


def as_they_are(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a configuration, such that another one reads them as they are: text that looks like a literal, as the
    text None, as that text."""
    return {
        name: repr(value) if isinstance(value, str) and parse_literal(value) != value else value
        for name, value in options.items()
    }


def _plain_value(value: Any) -> Any:
    """Text by its meaning, numpy's numbers as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    return parse_literal(value) if isinstance(value, str) else value


def _check_plain(options: dict[str, Any]) -> None:
    for key, value in options.items():
        if not _is_plain(value):
            raise ConfigError(f"{key}: expected a plain value, such as a number, text or list, got {value!r}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
