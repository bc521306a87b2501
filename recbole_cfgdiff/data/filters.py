"""RecBole's filters of rows: what they filter by is checked, equal times keep the file's order, and each tells the log
how many rows it took.

RecBole 1.2.1 sorts by time before it removes duplicates, by an unstable sort, and what a filter took is not told. To go
with a RecBole that does neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

from recbole.data.dataset import Dataset, KnowledgeBasedDataset
from recbole.utils import FeatureType

from recbole_cfgdiff.compat import replaced
from recbole_cfgdiff.data.filter_options import Interval, read_intervals
from recbole_cfgdiff.data.pandas_3 import fill_columns
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.options import is_list_of_text
from recbole_cfgdiff.properties import PROPERTIES, RECBOLE_PROPERTIES, top_level_keys

_COUNTS = {
    "user_inter_num_interval": "users",
    "item_inter_num_interval": "items",
    "entity_kg_num_interval": "entities",
    "relation_kg_num_interval": "relations",
}
_ALIASES = ("alias_of_user_id", "alias_of_item_id")


def _outside(intervals: list[Interval]) -> str:
    """In words, the numbers that are in none."""
    (low, *_), (high, *_) = intervals, intervals[::-1]
    if len(intervals) == 1 and math.isinf(low.high):
        return f"{'below' if low.has_low else 'at most'} {low.low:g}"
    if len(intervals) == 1 and math.isinf(low.low):
        return f"{'above' if high.has_high else 'at least'} {high.high:g}"
    return f"outside {';'.join(map(str, intervals))}"


def check_filtered_columns(config: Any, columns: Mapping[str, Mapping[str, str]]) -> None:
    """Check that what is filtered by is loaded, and of a type that can be.

    Args:
        config: the configuration.
        columns: by the suffix of an atomic file, the type of each column that is loaded.

    Raises:
        ConfigError: on the first option that names another.
    """
    for suffix, names in (config["unused_col"] or {}).items():
        needed = {config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]} & set(names)
        if suffix not in columns or needed:
            problem = f"{', '.join(needed)} of {suffix} is needed" if needed else f"no columns of {suffix} are loaded"
            raise ConfigError(f"unused_col: {problem}; got {config['unused_col']!r}")
    kinds = {name: kind for loaded in columns.values() for name, kind in loaded.items()}
    _check_named_columns(config, columns, kinds)
    for name, wanted in (config["val_interval"] or {}).items():
        expected = "token" if is_list_of_text(wanted) else "float"
        _check_filtered_column(config, "val_interval", name, kinds, expected)
    for name in config["threshold"] or {}:
        _check_filtered_column(config, "threshold", name, columns["inter"])
        if config["LABEL_FIELD"] in columns["inter"] and name != config["LABEL_FIELD"]:
            raise ConfigError(
                f"threshold: the column {config['LABEL_FIELD']!r} would be written over; leave it out of load_col"
            )
    if config["noise_threshold"] is not None and config["RATING_FIELD"] in columns["inter"]:
        _check_filtered_column(config, "noise_threshold", config["RATING_FIELD"], columns["inter"])
    if config["rm_dup_inter"] is not None and config["TIME_FIELD"] in columns["inter"]:
        _check_filtered_column(config, "rm_dup_inter", config["TIME_FIELD"], columns["inter"])


def _check_named_columns(config: Any, columns: Mapping[str, Mapping[str, str]], kinds: Mapping[str, str]) -> None:
    """Columns that other options name, where these are given: RecBole passes over what is not there."""
    given = config.external_config_dict
    named = {option: given.get(option) or () for option in ("seq_len", "normalize_field", *_ALIASES)}
    missing = [(option, name, kinds) for option, names in named.items() for name in names if name not in kinds]
    for suffix, names in (given.get("unused_col") or {}).items():
        missing += [("unused_col", name, columns[suffix]) for name in names if name not in columns[suffix]]
    for option, name, loaded in missing:
        raise ConfigError(f"{option}: no column {name!r} is loaded, but {', '.join(loaded)} (load_col)")
    for name, length in dict(given.get("seq_len") or {}).items():
        if type(length) is not int or length < 1:
            raise ConfigError(f"seq_len: {name}: expected an integer of at least 1, got {length!r}")


def _check_filtered_column(
    config: Any, option: str, column: str, kinds: Mapping[str, str], expected: str = "float"
) -> None:
    source = source_of(config, option)
    where = f"data set {config['dataset']}: {option}{f' of {source}' if source else ''}: {column}"
    if column not in kinds:
        raise ConfigError(f"{where}: no column of that name is loaded, but {', '.join(kinds)} (load_col)")
    if kinds[column] != expected:
        form = {"float": "an interval such as '[4,inf)'", "token": "a list such as ['a', 'b']"}.get(kinds[column])
        hint = f", which {form} filters" if form and option == "val_interval" else ""
        raise ConfigError(f"{where}: expected a column of type {expected}, it is of type {kinds[column]}{hint}")


def source_of(config: Any, name: str) -> str | None:
    """The file of the data set that an option is from; None if it is given."""
    if config.external_config_dict.get(name, config[name]) != config.internal_config_dict.get(name):
        return None
    dataset = config["dataset"]
    files = {
        str(Path(config["data_path"]) / f"{dataset}.yaml"): Path(config["data_path"]) / f"{dataset}.yaml",
        f"properties/dataset/{dataset}.yaml": PROPERTIES / "dataset" / f"{dataset}.yaml",
        f"recbole/properties/dataset/{dataset}.yaml": RECBOLE_PROPERTIES / "dataset" / f"{dataset}.yaml",
    }
    return next((told for told, path in files.items() if path.is_file() and name in top_level_keys(path)), None)


def _named(config: Any, name: str) -> str:
    """An option as it is told at the end of a reason."""
    source = source_of(config, name)
    return f", {source} ({name})" if source else f" ({name})"


def _by_value(config: Any) -> str | None:
    wanted = config["val_interval"]
    if not wanted:
        return None
    reasons = (
        f"{name} none of {', '.join(value)}"
        if is_list_of_text(value)
        else f"{name} {_outside(read_intervals(name, value))}"
        for name, value in wanted.items()
    )
    return " or ".join(reasons) + _named(config, "val_interval")


def _by_count(config: Any, *names: str) -> str | None:
    reasons = []
    for name in names:
        intervals = read_intervals(name, config[name]) if config[name] is not None else []
        if intervals and not (len(intervals) == 1 and intervals[0].low <= 0 and intervals[0].high == math.inf):
            reasons.append(f"{_COUNTS[name]} with a number of rows {_outside(intervals)}{_named(config, name)}")
    return ", ".join(reasons) or None


def _by_duplicates(config: Any) -> str | None:
    keep = config["rm_dup_inter"]
    return f"a user's and an item's rows but the {keep}{_named(config, 'rm_dup_inter')}" if keep else None


def _remove_duplication(dataset: Any) -> None:
    """RecBole's, but that of equal times the first in the file comes first."""
    keep, rows = dataset.config["rm_dup_inter"], dataset.inter_feat
    if keep is None:
        return
    if dataset.time_field in rows:
        rows.sort_values(by=dataset.time_field, kind="stable", inplace=True)
    else:
        dataset.logger.warning(f"rm_dup_inter: no times are loaded; the {keep} row is the {keep} in the file")
    rows.drop_duplicates(subset=[dataset.uid_field, dataset.iid_field], keep=keep, inplace=True)


def _without_id(_: Any) -> None:
    return None


def _told(
    take: Callable[[Any], None], reason: Callable[[Any], str | None], otherwise: str = "", of: str = "inter_feat"
) -> Callable:
    """A method of RecBole's data set that filters, and tells the log what it took.

    Args:
        take: the method.
        reason: of a configuration, why rows are taken; None where nothing is to be taken by it.
        otherwise: the reason where rows are taken all the same.
        of: what it is to take rows of; that it took none is told.
    """

    def method(dataset: Any) -> None:
        before = {name: len(getattr(dataset, name)) for name in dataset.feat_name_list}
        take(dataset)
        wanted = reason(dataset.config)
        for feat, count in before.items():
            taken = count - len(getattr(dataset, feat))
            if not taken and not (wanted and feat == of):
                continue
            where = "" if feat == "inter_feat" else f" of .{feat[: -len('_feat')]}"
            told = f"{taken:,} of {count:,} rows{where} left out: {wanted or otherwise}"
            getLogger().info(told)
            if taken == count:
                raise ConfigError(
                    f"data set {dataset.dataset_name}: no row is left, check the filtering settings; {told}"
                )

    return method


def _fill_missing(dataset: Any) -> None:
    """RecBole's, which tells the log what it fills in."""
    for feat_name in ("inter_feat", "user_feat", "item_feat"):
        rows = getattr(dataset, feat_name)
        if rows is None:
            continue
        rows = rows if feat_name == "inter_feat" else rows.iloc[1:]  # the first is RecBole's padding
        for column, missing in rows.isna().sum().items():
            if missing and dataset.field2type[column] in (FeatureType.FLOAT, FeatureType.TOKEN):
                filled = "the mean" if dataset.field2type[column] is FeatureType.FLOAT else "an unknown value"
                getLogger().info(f"{missing:,} of {len(rows):,} values of {column} are missing: set to {filled}")
    fill_columns(dataset)
    _RECBOLES_FILL(dataset)  # the sequences


_RECBOLES_FILL = Dataset._fill_nan
_FILTERS = {
    "_filter_nan_user_or_item": _told(Dataset._filter_nan_user_or_item, _without_id, "no user or no item"),
    "_remove_duplication": _told(_remove_duplication, _by_duplicates),
    "_filter_by_field_value": _told(Dataset._filter_by_field_value, _by_value),
    "_filter_inter_by_user_or_item": _told(
        Dataset._filter_inter_by_user_or_item,
        _without_id,
        "users or items that .user or .item does not have, or no longer (filter_inter_by_user_or_item)",
    ),
    "_filter_by_inter_num": _told(
        Dataset._filter_by_inter_num,
        lambda config: _by_count(config, "user_inter_num_interval", "item_inter_num_interval"),
    ),
    "_fill_nan": _fill_missing,
}
_KNOWLEDGE_FILTERS = {
    "_filter_kg_by_triple_num": _told(
        KnowledgeBasedDataset._filter_kg_by_triple_num,
        lambda config: _by_count(config, "entity_kg_num_interval", "relation_kg_num_interval"),
        of="kg_feat",
    ),
    "_filter_link": _told(KnowledgeBasedDataset._filter_link, _without_id, "items that .link leads to no entity"),
}


@contextmanager
def mended_filters() -> Iterator[None]:
    """While a data set is made: RecBole's filters as the module says."""
    with ExitStack() as stack:
        stack.enter_context(replaced(Dataset, **_FILTERS))
        stack.enter_context(replaced(KnowledgeBasedDataset, **_KNOWLEDGE_FILTERS))
        yield
