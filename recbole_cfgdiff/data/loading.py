"""From a configuration to a RecBole data set and its three data loaders."""

from __future__ import annotations

from logging import getLogger
from typing import Any

import numpy as np
import recbole.data
import recbole.data.dataset
import recbole.data.utils
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType, ModelType

from recbole_cfgdiff.compat import replaced
from recbole_cfgdiff.data.atomic import read_atomic_files, reading_of
from recbole_cfgdiff.data.atomic_data import AtomicData
from recbole_cfgdiff.data.download import download_if_missing
from recbole_cfgdiff.data.filters import check_filtered_columns, mended_filters, source_of
from recbole_cfgdiff.data.history_at_test import histories_at_test, is_with_validation
from recbole_cfgdiff.data.loaders import remember_batches
from recbole_cfgdiff.data.negatives import check_negatives, users_may_have_all_items
from recbole_cfgdiff.data.pandas_3 import lengths_by_value
from recbole_cfgdiff.data.sequences import make_sequence_loaders, needs_sequences
from recbole_cfgdiff.data.splits import add_noise, hold_users_out, split_by_exact_time, train_on_all_rows
from recbole_cfgdiff.data.time_order import exact_times, remember_places
from recbole_cfgdiff.errors import ConfigError, reported_if_raised_by_recbole

_NOT_FOR_GIVEN_SPLITS = (
    "val_interval",
    "rm_dup_inter",
    "user_inter_num_interval",
    "item_inter_num_interval",
    "noise_threshold",
)


def check_data(config: Any, known: AtomicData | None = None) -> AtomicData:
    """Check the data set of the configuration, downloaded where needed, as far as it can be before it is loaded.

    Args:
        config: the configuration.
        known: what was read of a data set; if it is this one, by the same options, nothing is read.

    Returns:
        what was read.

    Raises:
        ConfigError: if the data is missing or malformed, or if an option does not fit its columns.
    """
    _check_given_split(config)
    download_if_missing(config)
    data = known if known and known.reading == reading_of(config) else read_atomic_files(config)
    columns = data.types()
    check_filtered_columns(config, columns)
    _check_labels(config, columns["inter"])
    _check_times(config, columns["inter"])
    return data


def create_dataset(config: Any, known: AtomicData | None = None) -> Any:
    """RecBole's data set of the configuration, checked, and with the exact time order.

    RecBole 1.2.1 rounds times to float32 (64 to 128 seconds apart for times in seconds since 1970) before it sorts by
    them, stably; rows that are in order before keep it. Rows that are to be split at random keep the file's order, so
    that a seed gives RecBole's split; their places in time are remembered beside them.

    Arguments as of ``check_data``.

    Raises:
        ConfigError: as ``check_data``; or if the data is filtered to nothing.
    """
    data = check_data(config, known)
    told = reported_if_raised_by_recbole(f"data set {config['dataset']}")
    with mended_filters(), lengths_by_value(), data.in_place_of_files(), told:
        dataset = _dataset_class(config)(config)
    if dataset.time_field in dataset.inter_feat:
        if config["benchmark_filename"] is not None or config["eval_args"]["order"] == "TO":
            _sort_by_exact_time(dataset)
        elif dataset.field2type[dataset.time_field] is FeatureType.FLOAT:
            remember_places(dataset)
    if config["noise_threshold"] is not None:
        given, default = config.external_config_dict, config.internal_config_dict
        for name in ("user_inter_num_interval", "item_inter_num_interval"):
            if given.get(name) not in (None, default.get(name)):
                raise ConfigError(f"{name}: RecBole would count noise too, and the test part would not be clean's")
        add_noise(dataset, config["noise_threshold"], config["noise_seed"])
    if config["fit"] == "all":
        train_on_all_rows(dataset)
    return dataset


def _dataset_class(config: Any) -> type:
    """As in RecBole's ``create_dataset``, which also unpickles what it finds under the name of a saved data set."""
    if needs_sequences(config):
        return Dataset
    own = getattr(recbole.data.dataset, f"{config['model']}Dataset", None)
    by_type = {
        ModelType.SEQUENTIAL: recbole.data.dataset.SequentialDataset,
        ModelType.KNOWLEDGE: recbole.data.dataset.KnowledgeBasedDataset,
    }
    return own or by_type.get(config["MODEL_TYPE"], Dataset)


def _check_given_split(config: Any) -> None:
    """Refuse options that RecBole passes over in silence where the data set comes split (``benchmark_filename``)."""
    if config["benchmark_filename"] is None:
        return
    given, default = config.external_config_dict, config.internal_config_dict
    ignored = [name for name in _NOT_FOR_GIVEN_SPLITS if name in given and given[name] != default.get(name)]
    eval_args = given.get("eval_args") or {}
    ignored += [
        f"eval_args: {name}"
        for name in ("split", "order", "group_by")
        if name in eval_args and eval_args[name] != default["eval_args"].get(name)
    ]
    if ignored:
        raise ConfigError(
            f"{', '.join(ignored)}: the data set {config['dataset']} comes split into {config['benchmark_filename']}, "
            "where RecBole applies no filter, order or split; leave it out, or convert the data unsplit"
        )
    for name in _NOT_FOR_GIVEN_SPLITS:
        if config[name] and source_of(config, name):
            getLogger().warning(f"{name} of {source_of(config, name)} does not apply: the data set comes split")


def _check_labels(config: Any, columns: dict[str, str]) -> None:
    field = config["LABEL_FIELD"]
    if "labeled" not in config["eval_args"]["mode"].values() or config["threshold"]:
        return
    if columns.get(field) != FeatureType.FLOAT.value:
        raise ConfigError(
            f"eval_args: mode: labeled: expected a column {field}:float, found {', '.join(columns)}; name it "
            "(LABEL_FIELD, load_col), or make one of ratings with --threshold=\"{'rating': 4}\""
        )


def _check_times(config: Any, columns: dict[str, str]) -> None:
    name, field, is_split = config["dataset"], config["TIME_FIELD"], config["benchmark_filename"] is not None
    if config["eval_args"]["order"] != "TO" and not is_split:
        return
    if field not in columns and not is_split:
        raise ConfigError(
            f"data set {name}: no column {field!r} to order by is loaded; name it "
            "(TIME_FIELD, load_col), or choose a random order with --eval_args=\"{'order': 'RO'}\""
        )
    if columns.get(field, FeatureType.FLOAT.value) != FeatureType.FLOAT.value:
        raise ConfigError(
            f"data set {name}: the times to order by must be numbers, but {field} is of type {columns[field]}; "
            f"declare it {field}:float"
        )
    if field in (config["discretization"] or {}):
        raise ConfigError(f"discretization: {field}: rows are ordered by it; give the order RO in eval_args")


def _sort_by_exact_time(dataset: Any) -> None:
    """Sort the rows, still a DataFrame with float64 times, but never across the files of a given split that is kept."""
    is_split = dataset.benchmark_filename_list and dataset.config["fit"] != "all"
    sizes = dataset.file_size_list if is_split else [len(dataset.inter_feat)]
    part = np.repeat(np.arange(len(sizes)), sizes)
    times = exact_times(dataset)
    order = np.lexsort((times, part))
    dataset.inter_feat = dataset.inter_feat.iloc[order].reset_index(drop=True)
    dataset.times_in_order = times[order]


def data_preparation(config: Any, dataset: Any, train_loader: type | None = None) -> tuple[Any, Any, Any]:
    """RecBole's loaders of the training, validation and test part.

    Args:
        config: the configuration.
        dataset: of ``create_dataset``.
        train_loader: the class of the training loader, for models that RecBole's table of them does not have.

    Raises:
        ConfigError: if the data can't be split so, or if nothing is left to validate or test on.
    """
    mended = replaced(Dataset, time_based_split=split_by_exact_time)
    with users_may_have_all_items(), mended:
        if needs_sequences(config):
            train_data, valid_data, test_data = make_sequence_loaders(config, dataset)
        else:
            train_data, valid_data, test_data = _make_loaders(config, dataset, train_loader)
        if config["heldout_users"] is not None and config["fit"] != "all":
            train_data, valid_data, test_data = hold_users_out(config, dataset, (train_data, valid_data, test_data))
    if is_with_validation(config):
        test_data.histories = histories_at_test(train_data._dataset, valid_data._dataset)
        getLogger().info("At test time histories have the validation rows too (history_at_test)")
    check_negatives(config, dataset, (train_data, valid_data, test_data))
    _tell_rowless(dataset, train_data._dataset)
    for loader in (valid_data, test_data):
        remember_batches(loader)
    validates, tests = _parts_wanted(config)
    for name, loader, wanted in (("validation", valid_data, validates), ("test", test_data, tests)):
        if wanted and len(loader) == 0:
            raise ConfigError(
                f"data set {config['dataset']}: the {name} part of the split {config['eval_args']['split']} is empty; "
                "users have too few interactions, or filters left too few"
            )
    return train_data, valid_data, test_data


def _make_loaders(config: Any, dataset: Any, train_loader: type | None) -> tuple[Any, Any, Any]:
    """RecBole's ``data_preparation``, which finds no saved loaders and saves none: it unpickles and pickles them."""
    get_dataloader = recbole.data.utils.get_dataloader

    def choose(config: Any, phase: str) -> type:
        return train_loader if train_loader and phase == "train" else get_dataloader(config, phase)

    nothing = dict.fromkeys(("load_split_dataloaders", "save_split_dataloaders"), lambda *_, **__: None)
    told = reported_if_raised_by_recbole(f"data set {config['dataset']}")
    with replaced(recbole.data.utils, get_dataloader=choose, **nothing), told:
        return recbole.data.data_preparation(config, dataset)


def _tell_rowless(dataset: Any, train_part: Any) -> None:
    """Tell the log of users and items that no model can learn anything of."""
    for field, what, count in (
        (dataset.uid_field, "users", dataset.user_num - 1),
        (dataset.iid_field, "items", dataset.item_num - 1),
    ):
        rowless = count - len(train_part.inter_feat[field].unique())
        if rowless:
            getLogger().info(f"{rowless:,} of {count:,} {what} have no row to train on")


def _parts_wanted(config: Any) -> tuple[bool, bool]:
    """Whether the split is to have a validation and a test part: RecBole goes on in silence without."""
    split = config["eval_args"]["split"]
    if config["fit"] == "all":
        return False, False
    if config["benchmark_filename"] is not None:
        return True, True
    if "LS" in split:
        return split["LS"] != "test_only", split["LS"] != "valid_only"
    _, valid, test = next(iter(split.values()))
    return valid > 0, test > 0
