"""Options of every run checked before RecBole meets them, where a message can name them: each by the table, and the
rules between them, of metrics, splits, modes and sampling."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

from recbole.evaluator.register import metric_types, metrics_dict
from recbole.utils import EvaluatorType

from recbole_cfgdiff.errors import ConfigError, nearest
from recbole_cfgdiff.names import check_name, check_path
from recbole_cfgdiff.options import Choice, Flag, Integer, Kind, Number
from recbole_cfgdiff.overlay.options import OPTIONS, Group, names_of

_MOST_SAMPLED = 10_000  # negative items a row, of which all rows of a batch are held at once
_SAMPLING = ("distribution", "sample_num", "alpha", "dynamic", "candidate_num")
_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")


def check_options(options: Mapping[str, Any], given: Container[str]) -> None:
    """Check the options that are no model's: each by its row of the table, then what they mean together.

    Args:
        options: all options, as RecBole merges them and before it derives others.
        given: names of those that are no defaults.

    Raises:
        ConfigError: on the first one that is wrong; the message names it and what is expected.
    """
    for name, value in options.items():
        if "\0" in str(value):
            raise ConfigError(f"{name}: expected a value without NUL characters, got {value!r}")
    for name, option in OPTIONS.items():
        if name in options:
            option.kind.read(name, options[name])
    _check_sampling(options["train_neg_sample_args"])
    _check_metrics(options["metrics"], options["topk"], options["valid_metric"], "valid_metric" not in given)
    _check_eval_args(options["eval_args"])
    _check_metrics_against_modes(_listed(options["metrics"]), _listed(options["topk"]), options["eval_args"])
    if options["log_wandb"] and find_spec("wandb") is None:
        raise ConfigError("log_wandb: the package wandb is missing: pip install wandb, or leave the option out")
    _check_names(options)


def check_compares(config: Any) -> None:
    """Check that a run, one of several that are compared by their metrics, is not of a model that is only to be used.

    Raises:
        ConfigError: on an option for such.
    """
    for name in names_of(Group.USED):
        if config[name]:
            raise ConfigError(f"{name}: it is for the command run, for a model that is used and not compared")


def _check_names(options: Mapping[str, Any]) -> None:
    run_name = options.get("run_name")  # ours, with no default in a file
    if run_name is not None:
        if not _is_below(str(run_name)):
            raise ConfigError(f"run_name: expected the name of a folder below checkpoint_dir, got {run_name!r}")
        check_path("run_name", Path(str(run_name)))
    check_path("checkpoint_dir", Path(options["checkpoint_dir"]))
    for part in options["benchmark_filename"] or ():
        check_name("benchmark_filename", part)  # of a file beside the others, not of one elsewhere


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_below(path: str) -> bool:
    parts = PurePath(path).parts
    return bool(parts) and ".." not in parts and not PurePath(path).is_absolute()


def _check_sampling(value: Any) -> None:
    """``train_neg_sample_args``, of which RecBole passes over what it does not know."""
    if value is None:
        return
    expected = "train_neg_sample_args: expected such as {'distribution': 'uniform', 'sample_num': 1}"
    if unknown := sorted(set(value) - set(_SAMPLING)):
        raise ConfigError(f"{expected}; nothing reads {', '.join(unknown)}")
    args = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0, **value}
    if args["distribution"] not in ("uniform", "popularity", "none"):
        raise ConfigError(f"{expected}, or popularity for uniform; got {value!r}")
    if args["distribution"] == "none":
        return
    kinds: dict[str, Kind] = {
        "dynamic": Flag(),
        "alpha": Number(0),
        "sample_num": Integer(1, _MOST_SAMPLED),
        "candidate_num": Integer(1 if args["dynamic"] else 0, _MOST_SAMPLED),
    }
    for name, kind in kinds.items():
        kind.read(f"train_neg_sample_args: {name}", args[name])
    if args["alpha"] != 1 and args["distribution"] == "uniform":
        raise ConfigError("train_neg_sample_args: alpha would do nothing: only the distribution popularity reads it")
    if args["candidate_num"] and not args["dynamic"]:
        raise ConfigError("train_neg_sample_args: candidate_num would do nothing without 'dynamic': True")


def _check_metrics(metrics: Any, topk: Any, valid_metric: Any, is_default: bool) -> None:
    names, lengths = _listed(metrics), _listed(topk)
    for name in names:
        if name.lower() not in metric_types:
            raise ConfigError(f"metrics: there is no metric {name}{_hint(name)}")
    by_values = [name for name in names if metric_types[name.lower()] is EvaluatorType.VALUE]
    if 0 < len(by_values) < len(names):
        (ranking, *_) = (name for name in names if name not in by_values)
        raise ConfigError(f"metrics: {by_values[0]} is of labels and {ranking} of rankings; a run has one kind")
    evaluated = [full_name for name in names for full_name in _full_names(name, lengths)]
    if valid_metric.lower() not in map(str.lower, evaluated):
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
        Choice(("TO", "RO")).read("eval_args: order", eval_args["order"])
    if "group_by" in eval_args:
        Choice(("user", "none", None)).read("eval_args: group_by", eval_args["group_by"])
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
        Choice(("valid_and_test", "valid_only", "test_only")).read("eval_args: split: LS", value)
    elif not (is_ratios and value[0] > 0):
        raise ConfigError(
            f"eval_args: split: {kind}: expected three ratios, of training, validation and test, got {value!r}"
        )
    if kind != "RS" and eval_args.get("group_by", "user") != "user":
        raise ConfigError(f"eval_args: group_by: {kind} splits the rows of each user; expected user")
    if kind == "TS" and eval_args.get("order", "TO") != "TO":
        raise ConfigError("eval_args: order: TS splits by time; expected TO")
