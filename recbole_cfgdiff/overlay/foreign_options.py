"""Which options files of others may set: a data folder's ``NAME.yaml``, and the options that a checkpoint holds.

They describe the data, what is trained and tested on, or the model. Where files are read or written, what the machine
does, and files to load into a model are the user's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole.model.general_recommender.diffrec import DiffRec as RecBolesDiffRec

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model import DiffRec
from recbole_cfgdiff.overlay.hyperparameters import all_hyperparameter_names, hyperparameter_names
from recbole_cfgdiff.overlay.options import IN_A_CHECKPOINT, IN_A_DATA_FOLDER, PASSED_OVER_IN_A_CHECKPOINT

# Hyperparameters that name a file (ConvNCF, NAIS, RaCT, S3Rec, NeuMF, KD_DAGFM, xgboost).
FILES_OF_MODELS = ("pre_model_path", "pretrain_path", "mf_pretrain_path", "mlp_pretrain_path", "warm_up", "xgb_model")

# Beside the bytes of a checkpoint, the largest number that a hyperparameter in it may be: steps of annealing.
_LARGEST = 200_000


def check_data_options(options: Mapping[str, Any], model_class: type, where: str) -> None:
    """Check what a file beside the data sets.

    Args:
        options: its content.
        model_class: the model that is to be trained; other models' hyperparameters may stand there too.
        where: the file, for the message.

    Raises:
        ConfigError: on an option that is not the data's to set, with its name.
    """
    of_models = hyperparameter_names(model_class) | all_hyperparameter_names()
    _check(options, {*IN_A_DATA_FOLDER, *of_models}, where)


def options_of_checkpoint(options: Mapping[str, Any], model_class: type, path: Path) -> dict[str, Any]:
    """The options of a checkpoint, without those of where the run that wrote it kept its files.

    Raises:
        ConfigError: on an option that a checkpoint may not set, with its name, or a size that its weights can't have.
    """
    where = f"checkpoint {path}"
    of_model = hyperparameter_names(model_class)
    passed_over = {*PASSED_OVER_IN_A_CHECKPOINT, *(_once_options_of(model_class) - of_model)}
    kept = {name: value for name, value in options.items() if name not in passed_over}
    _check(kept, {*IN_A_CHECKPOINT, *of_model}, where)
    for name in of_model & set(kept) | {"MAX_ITEM_LIST_LENGTH"} & set(kept):
        numbers = kept[name] if isinstance(kept[name], list) else [kept[name]]
        if any(isinstance(number, int) and number > max(_LARGEST, path.stat().st_size) for number in numbers):
            raise ConfigError(f"{where}: refused, its {name} is {kept[name]}, more than it has bytes")
    return kept


def _once_options_of(model_class: type) -> set[str]:
    """What checkpoints of RecBole's DiffRec may hold and it never read, of when it had the options of ours."""
    return hyperparameter_names(DiffRec) if issubclass(model_class, RecBolesDiffRec) else set()


def _check(options: Mapping[str, Any], allowed: set[str], where: str) -> None:
    refused = sorted(
        str(name) for name, value in options.items() if name not in allowed or (name in FILES_OF_MODELS and value)
    )
    if refused:
        raise ConfigError(
            f"{where}: refused, it sets {', '.join(refused)}; such a file may only describe the data, the split, the "
            "metrics and the model. If you want it, take it out there and give it yourself, as --key=value"
        )
