"""Types and ranges of the options of every run, checked before RecBole meets them, where a message can name them."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

from recbole.evaluator.register import metric_types, metrics_dict
from recbole.utils import EvaluatorType

from recbole_cfgdiff.data.filters import check_filter_options
from recbole_cfgdiff.errors import ConfigError, nearest
from recbole_cfgdiff.model.options import read_choice, read_flag, read_integer, read_number
from recbole_cfgdiff.names import check_name, check_path

# What is trained and tested on, and how it is measured.
DATA_AND_METRICS = (
    "eval_args",
    "metrics",
    "topk",
    "valid_metric",
    "metric_decimal_place",
    "benchmark_filename",
    "val_interval",
    "rm_dup_inter",
    "filter_inter_by_user_or_item",
    "user_inter_num_interval",
    "item_inter_num_interval",
    "threshold",
    "noise_threshold",
    "noise_seed",
    "heldout_users",
    "heldout_targets",
    "heldout_seed",
)

# Beside them, by what a run's rows are read and split, and which are masked; models of one experiment may differ in it.
ROWS = (
    "seed",
    "USER_ID_FIELD",
    "ITEM_ID_FIELD",
    "RATING_FIELD",
    "TIME_FIELD",
    "load_col",
    "unload_col",
    "repeatable",
)

_AT_LEAST = {
    "epochs": 0,
    "train_batch_size": 1,
    "eval_batch_size": 1,
    "full_sort_eval_batch_size": 1,
    "stopping_step": 0,
    "metric_decimal_place": 0,
    "loss_decimal_place": 0,
    "worker": 0,
    "MAX_ITEM_LIST_LENGTH": 1,
    "seed": 0,
    "noise_seed": 0,
    "heldout_seed": 0,
}
_FLAGS = (
    "show_progress",
    "shuffle",
    "reproducibility",
    "use_gpu",
    "enable_amp",
    "enable_scaler",
    "log_wandb",
    "save_dataset",
    "save_dataloaders",
    "repeatable",
    "require_pow",
    "kg_reverse_r",
)
_TEXTS = (
    "data_path",
    "checkpoint_dir",
    "wandb_project",
    "seq_separator",
    "RATING_FIELD",
    "LABEL_FIELD",
    "NEG_PREFIX",
    "ITEM_LIST_LENGTH_FIELD",
    "LIST_SUFFIX",
    "POSITION_FIELD",
    "HEAD_ENTITY_ID_FIELD",
    "TAIL_ENTITY_ID_FIELD",
    "RELATION_ID_FIELD",
    "ENTITY_ID_FIELD",
)
# Or None; with what the message gives as an example.
_LISTS = {
    "normalize_field": "['age']",
    "numerical_features": "['age']",
    "alias_of_user_id": "['source_id']",
    "alias_of_item_id": "['item_id_list']",
    "alias_of_entity_id": "['tail_id']",
    "alias_of_relation_id": "['relation_id']",
}
_DICTIONARIES = {
    "unused_col": "{'inter': ['rating']}",
    "seq_len": "{'class': 3}",
    "preload_weight": "{'item_id': 'item_vector'}",
    "discretization": "{'age': {'method': 'LD'}}",
    "train_neg_sample_args": "{'distribution': 'uniform', 'sample_num': 1}",
}
_LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")  # RecBole takes adam for any other
_MOST_WORKERS = 256
_MOST_SAMPLED = 10_000  # negative items a row, of which all rows of a batch are held at once
_SAMPLING = ("distribution", "sample_num", "alpha", "dynamic", "candidate_num")
_STATES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")


def check_run_options(options: Mapping[str, Any], given: Container[str]) -> None:
    """Check the options that are no model's.

    Args:
        options: all options, as RecBole merges them and before it derives others.
        given: names of those that are no defaults.

    Raises:
        ConfigError: on the first one that is wrong; the message names it and what is expected.
    """
    for name, value in options.items():
        if "\0" in str(value):
            raise ConfigError(f"{name}: expected a value without NUL characters, got {value!r}")
    for name, minimum in _AT_LEAST.items():
        read_integer(options, name, minimum)
    if options["seed"] >= 2**32:
        raise ConfigError(f"seed: expected an integer below 2^32, got {options['seed']}")
    if type(options["eval_step"]) is not int:
        raise ConfigError(f"eval_step: expected an integer, got {options['eval_step']!r}")
    if options["worker"] > _MOST_WORKERS:
        raise ConfigError(f"worker: expected at most {_MOST_WORKERS}, got {options['worker']}")
    for name in ("learning_rate", "weight_decay"):
        read_number(options, name, 0)
    if options["noise_threshold"] is not None:
        read_number(options, "noise_threshold")
    for name in _FLAGS:
        read_flag(options, name)
    if options["state"] is not None:
        read_choice({"state": str(options["state"]).upper()}, "state", _STATES)
    read_choice({"learner": str(options["learner"]).lower()}, "learner", _LEARNERS)
    _check_kinds(options)
    _check_clip_grad_norm(options["clip_grad_norm"])
    _check_sampling(options["train_neg_sample_args"])
    check_filter_options(options)
    _check_metrics(options["metrics"], options["topk"], options["valid_metric"], "valid_metric" not in given)
    _check_eval_args(options["eval_args"])
    _check_metrics_against_modes(_listed(options["metrics"]), _listed(options["topk"]), options["eval_args"])
    for name in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD"):
        if not _is_text(options[name]) and not (name == "TIME_FIELD" and options[name] in (None, "")):
            raise ConfigError(f"{name}: expected the name of a column, got {options[name]!r}")
    if options["log_wandb"] and find_spec("wandb") is None:
        raise ConfigError("log_wandb: the package wandb is missing: pip install wandb, or leave the option out")
    _check_names(options)


def _check_names(options: Mapping[str, Any]) -> None:
    run_name = options.get("run_name")  # ours, with no default in a file
    if run_name is not None:
        if not _is_below(str(run_name)):
            raise ConfigError(f"run_name: expected the name of a folder below checkpoint_dir, got {run_name!r}")
        check_path("run_name", Path(str(run_name)))
    check_path("checkpoint_dir", Path(options["checkpoint_dir"]))
    parts = options["benchmark_filename"]
    if parts is not None and (not isinstance(parts, list) or len(parts) != 3 or not all(map(_is_text, parts))):
        raise ConfigError(
            f"benchmark_filename: expected the names of three parts, as ['train', 'valid', 'test'], got {parts!r}"
        )
    for part in parts or ():
        check_name("benchmark_filename", part)  # of a file beside the others, not of one elsewhere


def _check_kinds(options: Mapping[str, Any]) -> None:
    for name in _TEXTS:
        if not _is_text(options[name]):
            raise ConfigError(f"{name}: expected text, got {options[name]!r}")
    for examples, is_right in ((_LISTS, _is_list_of_text), (_DICTIONARIES, lambda value: isinstance(value, dict))):
        for name, example in examples.items():
            if options[name] is not None and not is_right(options[name]):
                raise ConfigError(f"{name}: expected such as {example}, got {options[name]!r}")
    if options["normalize_all"] is not None:
        read_flag(options, "normalize_all")
    suffixes = options["additional_feat_suffix"]
    if suffixes is not None and not all(map(_is_text, _listed(suffixes))):
        raise ConfigError(f"additional_feat_suffix: expected such as ['ent'], got {suffixes!r}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_below(path: str) -> bool:
    parts = PurePath(path).parts
    return bool(parts) and ".." not in parts and not PurePath(path).is_absolute()


def _check_clip_grad_norm(value: Any) -> None:
    if value is not None and (
        not isinstance(value, dict)
        or set(value) - {"max_norm", "norm_type"}
        or "max_norm" not in value
        or not all(type(number) in (int, float) and number > 0 for number in value.values())
    ):
        raise ConfigError(f"clip_grad_norm: expected such as {{'max_norm': 5, 'norm_type': 2}}, got {value!r}")


def _check_sampling(value: Any) -> None:
    """``train_neg_sample_args``, of which RecBole passes over what it does not know."""
    if value is None or value == "None":
        return
    expected = "train_neg_sample_args: expected such as {'distribution': 'uniform', 'sample_num': 1}"
    if unknown := sorted(set(value) - set(_SAMPLING)):
        raise ConfigError(f"{expected}; nothing reads {', '.join(unknown)}")
    args = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0, **value}
    if args["distribution"] not in ("uniform", "popularity", "none"):
        raise ConfigError(f"{expected}, or popularity for uniform; got {value!r}")
    if args["distribution"] == "none":
        return
    read_flag(args, "dynamic")
    read_number(args, "alpha", 0)
    for name, minimum in (("sample_num", 1), ("candidate_num", 1 if args["dynamic"] else 0)):
        if read_integer(args, name, minimum) > _MOST_SAMPLED:
            raise ConfigError(f"train_neg_sample_args: {name}: expected at most {_MOST_SAMPLED}, got {args[name]}")
    if args["alpha"] != 1 and args["distribution"] == "uniform":
        raise ConfigError("train_neg_sample_args: alpha would do nothing: only the distribution popularity reads it")
    if args["candidate_num"] and not args["dynamic"]:
        raise ConfigError("train_neg_sample_args: candidate_num would do nothing without 'dynamic': True")


def _check_metrics(metrics: Any, topk: Any, valid_metric: Any, is_default: bool) -> None:
    names = _listed(metrics)
    if not names or not all(map(_is_text, names)):
        raise ConfigError(f"metrics: expected a list of names, such as ['Recall', 'NDCG'], got {metrics!r}")
    for name in names:
        if name.lower() not in metric_types:
            raise ConfigError(f"metrics: there is no metric {name}{_hint(name)}")
    by_values = [name for name in names if metric_types[name.lower()] is EvaluatorType.VALUE]
    if 0 < len(by_values) < len(names):
        (ranking, *_) = (name for name in names if name not in by_values)
        raise ConfigError(f"metrics: {by_values[0]} is of labels and {ranking} of rankings; a run has one kind")
    lengths = _listed(topk)
    if not lengths or not all(type(k) is int and k > 0 for k in lengths):
        raise ConfigError(f"topk: expected positive integers, such as [5, 10], got {topk!r}")
    evaluated = [full_name for name in names for full_name in _full_names(name, lengths)]
    if not _is_text(valid_metric) or valid_metric.lower() not in map(str.lower, evaluated):
        told = f"the default {valid_metric} is none of them" if is_default else f"got {valid_metric}"
        raise ConfigError(
            f"valid_metric: expected one of metrics{' at one of topk' if '@' in evaluated[0] else ''}, such as "
            f"{evaluated[0]}, {told}"
        )


def _hint(name: str) -> str:
    known = [metric.__name__ for metric in metrics_dict.values()]
    similar = nearest(name, known)
    return f" (did you mean {similar[0]}?)" if similar else f"; there are {', '.join(known)}"


def _full_names(name: str, lengths: list[int]) -> list[str]:
    """What RecBole calls the values of a metric: some have one only, whatever the length of the list."""
    has_one = metric_types[name.lower()] is EvaluatorType.VALUE or name.lower() == "gauc"
    return [name] if has_one else [f"{name}@{k}" for k in lengths]


def _check_eval_args(eval_args: Any) -> None:
    if not isinstance(eval_args, dict):
        raise ConfigError(f"eval_args: expected such as {{'order': 'TO', 'mode': 'full'}}, got {eval_args!r}")
    if set(eval_args) - {"split", "group_by", "order", "mode"}:
        return  # told with the nearest name
    modes = _modes(eval_args)
    if not all(_MODE.fullmatch(str(mode)) for mode in modes):
        raise ConfigError(
            "eval_args: mode: expected full, labeled, uniN or popN, or one for valid and one for test, got "
            f"{eval_args['mode']!r}"
        )
    if "labeled" in modes and set(modes) != {"labeled"}:
        raise ConfigError(
            f"eval_args: mode: expected labeled for valid and test, or for neither, got {eval_args['mode']!r}"
        )
    if "order" in eval_args:
        _check_choice("order", eval_args["order"], ("TO", "RO"))
    if "group_by" in eval_args:
        _check_choice("group_by", eval_args["group_by"], ("user", "none", None))
    if "split" in eval_args:
        _check_split(eval_args)


def _modes(eval_args: Mapping[str, Any]) -> list[Any]:
    """Of validation and test."""
    modes = eval_args.get("mode", "full")
    if not isinstance(modes, dict):
        return [modes]
    return list(modes.values()) if modes and not set(modes) - {"valid", "test"} else [None]


def _check_metrics_against_modes(metrics: list[str], topk: list[int], eval_args: Mapping[str, Any]) -> None:
    """That what is to be measured can be: of rankings, or of labels."""
    modes = _modes(eval_args)
    if metric_types[metrics[0].lower()] is EvaluatorType.VALUE:
        if "full" in modes:
            raise ConfigError(
                f"metrics: {metrics[0]} is of labels; expected mode labeled or uniN, got {eval_args.get('mode')!r}"
            )
        return
    if "labeled" in modes:
        raise ConfigError(
            f"metrics: {metrics[0]} is of rankings, and with mode labeled there are none; give --metrics=\"['AUC']\" "
            "--valid_metric=AUC, or set mode in eval_args to full, uniN or popN"
        )
    for mode in modes:
        if mode != "full" and max(topk) > int(mode[3:]) + 1:
            raise ConfigError(
                f"topk: {max(topk)} is more than the {int(mode[3:]) + 1} items that mode {mode} is sure to rank, one "
                f"of the user's and {mode[3:]} others; give smaller ones, or a larger N"
            )


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"eval_args: {name}: expected one of {', '.join(map(str, choices))}, got {value!r}")


def _check_split(eval_args: Mapping[str, Any]) -> None:
    split = eval_args["split"]
    if not isinstance(split, dict) or len(split) != 1 or not set(split) <= {"RS", "LS", "TS"}:
        raise ConfigError(f"eval_args: split: expected such as {{'RS': [0.7, 0.2, 0.1]}}, got {split!r}")
    ((kind, value),) = split.items()
    is_ratios = (
        isinstance(value, list)
        and len(value) == 3
        and all(type(ratio) in (int, float) and 0 <= ratio < math.inf for ratio in value)
    )
    if kind == "LS":
        _check_choice("split: LS", value, ("valid_and_test", "valid_only", "test_only"))
    elif not (is_ratios and value[0] > 0):
        raise ConfigError(
            f"eval_args: split: {kind}: expected three ratios, of training, validation and test, got {value!r}"
        )
    if kind != "RS" and eval_args.get("group_by", "user") != "user":
        raise ConfigError(f"eval_args: group_by: {kind} splits the rows of each user; expected user")
    if kind == "TS" and eval_args.get("order", "TO") != "TO":
        raise ConfigError("eval_args: order: TS splits by time; expected TO")
