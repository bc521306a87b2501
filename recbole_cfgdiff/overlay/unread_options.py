"""Options that would do nothing: what the model, the split or the mode that were chosen never read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from recbole.utils import EvaluatorType, InputType, ModelType

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.hyperparameters import declared_rows
from recbole_cfgdiff.overlay.options import Group, names_of


class _Rule(NamedTuple):
    """When the options of some names are read, and what to do where they are not."""

    names: tuple[str, ...]
    is_read: Callable[[Any], bool]
    told: str


def _is_of(*types: ModelType) -> Callable[[Any], bool]:
    return lambda config: config["MODEL_TYPE"] in types


def _reads_sequences(config: Any) -> bool:
    declared = {row.name for row in declared_rows(config.model_class)}
    return _is_of(ModelType.SEQUENTIAL)(config) or "MAX_ITEM_LIST_LENGTH" in declared


def _reads_labels(config: Any) -> bool:
    labelled = "labeled" in config["eval_args"]["mode"].values()
    return labelled or _is_of(ModelType.CONTEXT, ModelType.DECISIONTREE)(config)


def _validates(config: Any) -> bool:
    ratios = config["eval_args"]["split"].get("RS") or config["eval_args"]["split"].get("TS") or [1, 1, 1]
    is_validated = config["benchmark_filename"] is not None or ratios[1] > 0
    return config["eval_step"] > 0 and is_validated and _evaluates(config)


def _evaluates(config: Any) -> bool:
    return config["fit"] != "all"


def _reads_eval_args(config: Any) -> bool:
    """Whether more of it may be given than the order of the rows."""
    given, default = config.external_config_dict.get("eval_args", {}), config.internal_config_dict["eval_args"]
    return _evaluates(config) or all(
        given.get(name, default[name]) == default[name] for name in set(default) - {"order"}
    )


def _samples_negatives(config: Any) -> bool:
    return config["MODEL_INPUT_TYPE"] is not InputType.LISTWISE


_RULES = (
    _Rule(
        ("threshold",),
        _reads_labels,
        "it makes labels, and every row counts as a positive one here; to leave rows out by a value give "
        "val_interval, such as --val_interval=\"{'rating': '[4,inf)'}\"",
    ),
    _Rule(
        ("ITEM_LIST_LENGTH_FIELD", "LIST_SUFFIX", "POSITION_FIELD", "transform"),
        _is_of(ModelType.SEQUENTIAL),
        "only RecBole's sequential models read it, such as SASRec",
    ),
    _Rule(
        ("MAX_ITEM_LIST_LENGTH",),
        _reads_sequences,
        "only sequential models read it, such as SASRec, SeqCFGDiffRec and NextItemRidge",
    ),
    _Rule(
        (
            "HEAD_ENTITY_ID_FIELD",
            "TAIL_ENTITY_ID_FIELD",
            "RELATION_ID_FIELD",
            "ENTITY_ID_FIELD",
            "kg_reverse_r",
            "entity_kg_num_interval",
            "relation_kg_num_interval",
            "alias_of_entity_id",
            "alias_of_relation_id",
        ),
        _is_of(ModelType.KNOWLEDGE),
        "only knowledge-aware models read it, such as KGAT",
    ),
    _Rule(
        ("numerical_features", "discretization"),
        _is_of(ModelType.CONTEXT, ModelType.DECISIONTREE),
        "only context-aware models read it, such as FM",
    ),
    _Rule(
        ("learning_rate", "weight_decay", "learner", "clip_grad_norm", "stopping_step"),
        lambda config: config["MODEL_TYPE"] is not ModelType.TRADITIONAL,
        "the model is fitted in one go, not by an optimiser",
    ),
    _Rule(("train_neg_sample_args",), _samples_negatives, "the model trains on whole histories and samples no item"),
    _Rule(
        (*names_of(Group.METRICS, Group.EVALUATION), "heldout_users"),
        _evaluates,
        "fit=all trains on every row of every user, and nothing is validated or tested",
    ),
    _Rule(("eval_args",), _reads_eval_args, "fit=all trains on every row; of eval_args only the order is read"),
    _Rule(("like",), lambda config: config["fit"] == "all", "give --fit=all with it"),
    _Rule(
        ("init_from",),
        lambda config: config["MODEL_TYPE"] is not ModelType.TRADITIONAL,
        "the model is fitted in one go, from no weights",
    ),
    _Rule(("stopping_step",), _validates, "nothing is validated; see eval_step, and split in eval_args"),
    _Rule(
        ("topk",),
        lambda config: config["eval_type"] is EvaluatorType.RANKING,
        "its metrics are of values, not of lists; NDCG, Recall and their like are of lists",
    ),
    _Rule(
        ("valid_metric_bigger", *names_of(Group.DERIVED)),
        lambda _: False,
        "RecBole derives it from the model, the metrics, eval_args, train_neg_sample_args, transform and use_gpu",
    ),
    _Rule(("noise_seed",), lambda config: config["noise_threshold"] is not None, "give noise_threshold with it"),
    _Rule(
        ("heldout_targets", "heldout_seed"),
        lambda config: config["heldout_users"] is not None and _evaluates(config),
        "give heldout_users with it, or --config_files=properties/protocol/heldout_users.yaml",
    ),
    _Rule(("wandb_project",), lambda config: config["log_wandb"], "give --log_wandb=True with it"),
)

# A file of settings may have these all the same: those of a search stand beside each other, read or not.
_RULES_OF_HYPERPARAMETERS = (
    _Rule(("w_min", "w_max"), lambda config: config["time-aware"] is not False, "give --time-aware=True with it"),
    _Rule(
        ("guidance_embedding_size",),
        lambda config: config["guidance_encoder"] != "raw",
        "give --guidance_encoder=embedding with it",
    ),
    _Rule(
        ("embedding_size",),
        lambda config: config["time_embedding"] is not False,
        "it is the width of the step's embedding; give --time_embedding=True with it",
    ),
    _Rule(
        ("noise_min", "noise_max"),
        lambda config: config["noise_scale"] != 0 and config["noise_schedule"] in (None, "linear", "linear-var"),
        "only the linear schedules read it, and none where noise_scale is 0",
    ),
    _Rule(
        ("mf_pretrain_path", "mlp_pretrain_path"),
        lambda config: config["use_pretrain"] is True,
        "give --use_pretrain=True with it",
    ),
)


def options_without_effect(config: Any) -> dict[str, str]:
    """Given options that differ from their defaults, and that nothing reads.

    Args:
        config: the configuration.

    Returns:
        by name, why, and what would do what was meant.
    """
    given, default = config.external_config_dict, config.internal_config_dict
    found = dict.fromkeys(config.unread_options, f"{config['model']} does not read it, only other models do")
    for rule in (*_RULES, *_RULES_OF_HYPERPARAMETERS):
        if not rule.is_read(config):
            found |= {name: rule.told for name in rule.names if given.get(name, default.get(name)) != default.get(name)}
    return found


def _mistakes(config: Any) -> dict[str, str]:
    """The options without effect, but for hyperparameters of a file of settings."""
    may_stand = {name for rule in _RULES_OF_HYPERPARAMETERS for name in rule.names} - set(config.variable_config_dict)
    return {name: told for name, told in options_without_effect(config).items() if name not in may_stand}


def check_all_are_read(configs: Sequence[Any], names: Collection[str] | None = None) -> None:
    """Check that every given option is read in one run at least.

    Args:
        configs: of the runs.
        names: the options that were given now; None takes all.

    Raises:
        ConfigError: if one does nothing in any run, and what would do what was meant.
    """
    first, *others = map(_mistakes, configs)
    unread = [name for name in first if all(name in other for other in others) and (names is None or name in names)]
    if unread:
        raise ConfigError("; ".join(f"{name}: it would do nothing: {first[name]}" for name in sorted(unread)))
