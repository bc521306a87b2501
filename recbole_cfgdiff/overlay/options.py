"""The table of options: a row for each that is no model's, with what it may be. To change an option, change its row.

RecBole's names and defaults (its ``properties/``; ours over them) stay as they are. What follows from the group of an
option is at the end. Hyperparameters of models: ``hyperparameters.py`` here, ``scoring/hyperparameters.py`` for ours.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from recbole_cfgdiff.data.filter_options import (
    COLUMN,
    COLUMNS_BY_FILE,
    COLUMNS_BY_FILE_OR_ALL,
    INTERVALS,
    THRESHOLD,
    VALUES_OF_COLUMNS,
)
from recbole_cfgdiff.data.history_at_test import TRAIN, TRAIN_AND_VALID
from recbole_cfgdiff.options import (
    ANYTHING,
    TEXT,
    Choice,
    Flag,
    Form,
    Integer,
    Kind,
    Number,
    OrNone,
    Word,
    is_dictionary,
    is_list_of_text,
    is_text,
)


class Group(Enum):
    """What an option is of."""

    FILES = "How the files of a data set are read"
    COLUMNS = "Which columns are read"
    ROWS = "Which rows a model is trained and tested on"
    SPLIT = "How the rows are split, and what is ranked"
    MASK = "Which items are left out of the ranking"
    METRICS = "What is measured"
    EVALUATION = "When and how validation and test are made"
    TRAINING = "Training"
    SEED = "Random numbers"
    USED = "A model that is to be used"
    RUN = "A run"
    MACHINE = "Where a run is made"
    OUTPUT = "Where a run is kept and told"
    KEPT = "Data sets that are kept"
    COMMAND = "What the command line reads itself"
    PROCESSES = "Several processes"
    CODE = "Code of your own"
    DERIVED = "Derived: to be read, not to be given"


class Option(NamedTuple):
    """A row of the table.

    Attributes:
        name: on the command line, in files and in Python.
        kind: what it may be.
        meaning: a sentence, for the docs.
        source: who reads it.
    """

    name: str
    kind: Kind
    meaning: str
    source: str = "RecBole"


_OURS = "recbole-cfgdiff"
_LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")  # RecBole takes adam for any other
_TRANSFORMS = ("mask_itemseq", "inverse_itemseq", "crop_itemseq", "reorder_itemseq", "user_defined")


def _listed_texts(example: str) -> OrNone:
    return OrNone(Form(f"such as {example}", is_list_of_text))


def _dictionary(example: str) -> Form:
    return Form(f"such as {example}", is_dictionary)


def _clips(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= {"max_norm", "norm_type"}
        and "max_norm" in value
        and all(type(number) in (int, float) and number > 0 for number in value.values())
    )


def _is_text_or_list(value: object) -> bool:
    return is_text(value) or is_list_of_text(value)


def _are_lengths(value: object) -> bool:
    lengths = value if isinstance(value, list) else [value]
    return bool(lengths) and all(type(k) is int and k > 0 for k in lengths)


_CLIP = OrNone(Form("such as {'max_norm': 5, 'norm_type': 2}", _clips))
_METRICS = Form("a list of names, such as ['Recall', 'NDCG']", lambda value: value != [] and _is_text_or_list(value))
_LENGTHS = Form("positive integers, such as [5, 10]", _are_lengths)
_SHARE = Form("a share between 0 and 1", lambda value: isinstance(value, float) and 0 < value < 1)
_PARTS = Form(
    "the names of three parts, as ['train', 'valid', 'test']",
    lambda value: is_list_of_text(value) and len(value) == 3,
)
_MEASURE = Form("one of metrics at one of topk, such as NDCG@10", is_text)

_TABLE: dict[Group, tuple[Option, ...]] = {
    Group.FILES: (
        Option("field_separator", Form("one or more characters", is_text), "Between the fields of a line."),
        Option("seq_separator", TEXT, "Between the values of a field that has several."),
        Option("encoding", OrNone(Form("the name of an encoding, such as utf-8", is_text)), "Of the files' text."),
        Option("seq_len", OrNone(_dictionary("{'class': 3}")), "Most values kept of a field of several."),
        Option("LABEL_FIELD", TEXT, "Column of labels, 0 or 1."),
        Option("NEG_PREFIX", TEXT, "Before the names of columns of sampled negative items."),
        Option("ITEM_LIST_LENGTH_FIELD", TEXT, "Name for the length of a sequence."),
        Option("LIST_SUFFIX", TEXT, "After the names of columns of sequences."),
        Option("MAX_ITEM_LIST_LENGTH", Integer(1), "Longest sequence of items; the latest are kept."),
        Option("POSITION_FIELD", TEXT, "Name for the positions of a sequence."),
        Option("HEAD_ENTITY_ID_FIELD", TEXT, "Column of heads in `.kg`."),
        Option("TAIL_ENTITY_ID_FIELD", TEXT, "Column of tails in `.kg`."),
        Option("RELATION_ID_FIELD", TEXT, "Column of relations in `.kg`."),
        Option("ENTITY_ID_FIELD", TEXT, "Column of entities in `.link`."),
        Option("kg_reverse_r", Flag(), "Add the reverse of every relation."),
        Option("entity_kg_num_interval", INTERVALS, "Triples that an entity that is kept has."),
        Option("relation_kg_num_interval", INTERVALS, "Triples that a relation that is kept has."),
        Option("unused_col", COLUMNS_BY_FILE, "Columns to filter by and then drop."),
        Option(
            "additional_feat_suffix",
            OrNone(Form("such as ['ent']", _is_text_or_list)),
            "Suffixes of further files of the data set.",
        ),
        Option("alias_of_user_id", _listed_texts("['source_id']"), "Columns that hold ids of users too."),
        Option("alias_of_item_id", _listed_texts("['item_id_list']"), "Columns that hold ids of items too."),
        Option("alias_of_entity_id", _listed_texts("['tail_id']"), "Columns that hold ids of entities too."),
        Option("alias_of_relation_id", _listed_texts("['relation_id']"), "Columns that hold ids of relations too."),
        Option(
            "preload_weight",
            OrNone(_dictionary("{'item_id': 'item_vector'}")),
            "By a column of ids, the column of their vectors.",
        ),
        Option("normalize_field", _listed_texts("['age']"), "Columns of numbers to bring to [0, 1]."),
        Option("normalize_all", OrNone(Flag()), "Bring all columns of numbers to [0, 1]."),
        Option("numerical_features", _listed_texts("['age']"), "Columns of numbers that a model embeds."),
        Option(
            "discretization",
            OrNone(_dictionary("{'age': {'method': 'LD'}}")),
            "How columns of numbers are made discrete.",
        ),
        Option("token_num_threshold", OrNone(Integer(0)), "Decision trees: most tokens that become numbers."),
        Option("convert_token_to_onehot", OrNone(Flag()), "Decision trees: tokens become 0 and 1."),
    ),
    Group.COLUMNS: (
        Option("USER_ID_FIELD", COLUMN, "Column of users."),
        Option("ITEM_ID_FIELD", COLUMN, "Column of items."),
        Option("RATING_FIELD", TEXT, "Column of ratings."),
        Option(
            "TIME_FIELD",
            OrNone(Form(COLUMN.expected, lambda value: isinstance(value, str))),
            "Column of times; None or empty: there is none.",
        ),
        Option("load_col", COLUMNS_BY_FILE_OR_ALL, "Columns to read, by the suffix of the file; None: all."),
        Option("unload_col", COLUMNS_BY_FILE, "Columns not to read, by the suffix of the file."),
    ),
    Group.ROWS: (
        Option("benchmark_filename", OrNone(_PARTS), "Parts that are split already, a file each."),
        Option("val_interval", VALUES_OF_COLUMNS, "Values of the rows that are kept, by column."),
        Option("rm_dup_inter", Choice((None, "first", "last")), "Which row of a user and an item is kept."),
        Option(
            "filter_inter_by_user_or_item",
            Choice((None, True, False)),
            "Leave out rows of users and items that `.user` and `.item` do not have.",
        ),
        Option("user_inter_num_interval", INTERVALS, "Rows that a user who is kept has."),
        Option("item_inter_num_interval", INTERVALS, "Rows that an item that is kept has."),
        Option("threshold", THRESHOLD, "Label 1 from this value on, 0 below."),
        Option("noise_threshold", OrNone(Number()), "Ratings below it enter training and validation.", _OURS),
        Option("noise_seed", Integer(0), "Seed of which of them do.", _OURS),
        Option("heldout_users", OrNone(_SHARE), "Share of users to test on, not trained on.", _OURS),
        Option("heldout_targets", Choice(("valid", "test")), "Which rows of theirs are to be found.", _OURS),
        Option("heldout_seed", Integer(0), "Seed of which users these are.", _OURS),
        Option(
            "history_at_test",
            Choice((TRAIN, TRAIN_AND_VALID)),
            "Which rows of a user a model that reads histories is told at test time.",
            _OURS,
        ),
    ),
    Group.SPLIT: (
        Option(
            "eval_args",
            _dictionary("{'order': 'TO', 'mode': 'full'}"),
            "`split`, `group_by`, `order`, and `mode`: which items are ranked.",
        ),
    ),
    Group.MASK: (Option("repeatable", Flag(), "Whether items of the history are ranked too."),),
    Group.METRICS: (
        Option("metrics", _METRICS, "Of rankings, or of labels."),
        Option("topk", _LENGTHS, "Lengths of the rankings that are measured."),
        Option("valid_metric", _MEASURE, "What the best epoch is chosen by."),
        Option("metric_decimal_place", Integer(0), "Decimals of metrics."),
        Option("tail_ratio", OrNone(Number()), "TailPercentage: share or most rows of an item of the tail."),
    ),
    Group.EVALUATION: (
        Option("eval_batch_size", Integer(1), "Users times items, or rows, scored at once."),
        Option("full_sort_eval_batch_size", Integer(1), "`eval_batch_size` where all items are ranked.", _OURS),
        Option("eval_step", Integer(None), "Epochs from a validation to the next; below 1: none."),
        Option("valid_metric_bigger", ANYTHING, "Derived from `valid_metric`."),
    ),
    Group.TRAINING: (
        Option("epochs", Integer(0), "Most passes over the training part."),
        Option("train_batch_size", Integer(1), "Rows or users of a step."),
        Option("learner", Word(_LEARNERS), "Optimiser."),
        Option("learning_rate", Number(0), "Of the optimiser."),
        Option("weight_decay", Number(0), "Of the optimiser."),
        Option("clip_grad_norm", _CLIP, "Norm that gradients are cut to."),
        Option("stopping_step", Integer(0), "Validations without a better one until training stops."),
        Option("loss_decimal_place", Integer(0), "Decimals of the loss."),
        Option("shuffle", Flag(), "New order of the rows in each epoch."),
        Option("require_pow", Flag(), "Embeddings' penalty as a power."),
        Option("enable_amp", Flag(), "Mixed precision."),
        Option("enable_scaler", Flag(), "Scaled gradients with mixed precision."),
        Option(
            "train_neg_sample_args",
            OrNone(_dictionary("{'distribution': 'uniform', 'sample_num': 1}")),
            "Which items are sampled as negative ones.",
        ),
        Option("transform", OrNone(Choice(_TRANSFORMS)), "What is done to sequences of a batch."),
        Option("mask_ratio", OrNone(Number()), "Share that `mask_itemseq` hides."),
        Option("ft_ratio", OrNone(Number()), "Share of `mask_itemseq`'s rows that end in a hidden item."),
        Option("eta", OrNone(Number()), "Share that `crop_itemseq` keeps."),
        Option("beta", OrNone(Number()), "Share that `reorder_itemseq` reorders; some models have their own."),
        Option("loss_type", OrNone(TEXT), "Of models that have several."),
    ),
    Group.SEED: (Option("seed", Integer(0, 2**32 - 1), "Of all random numbers of a run."),),
    Group.USED: (
        Option("fit", Choice((None, "all")), "`all`: trained on every row, nothing is validated or tested.", _OURS),
        Option("like", ANYTHING, "With it, the run whose options, and epochs of the best one, are taken.", _OURS),
        Option("init_from", ANYTHING, "Run, or exported model, whose weights are the first, matched by ids.", _OURS),
    ),
    Group.RUN: (
        Option("reproducibility", Flag(), "Only operations that give the same result each time."),
        Option("resume", ANYTHING, "Folder of an interrupted run to continue.", _OURS),
        Option("run_name", ANYTHING, "Folder of the run, below `checkpoint_dir`.", _OURS),
    ),
    Group.MACHINE: (
        Option("data_path", TEXT, "Folder of the data sets."),
        Option("gpu_id", ANYTHING, "Which GPUs are used."),
        Option("use_gpu", Flag(), "Whether any is used."),
        Option("worker", Integer(0, 256), "Processes that load data."),
        Option(
            "state",
            OrNone(Word(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))),
            "From which level on the log has lines.",
        ),
        Option("show_progress", Flag(), "Bars of progress."),
        Option("chosen_by", ANYTHING, "How a file's hyperparameters were chosen, for the tables.", _OURS),
    ),
    Group.OUTPUT: (
        Option("checkpoint_dir", TEXT, "Folder that runs are kept in."),
        Option("save_dataset", Flag(), "Keep which rows the data set has, as hashes."),
        Option("save_dataloaders", Flag(), "Keep which rows each part of the split has, as hashes."),
        Option("log_wandb", Flag(), "Send the run to Weights & Biases."),
        Option("wandb_project", TEXT, "Project there."),
    ),
    Group.KEPT: (
        Option("dataset_save_path", ANYTHING, "File of `save_dataset` that the rows have to agree with."),
        Option("dataloaders_save_path", ANYTHING, "File of `save_dataloaders` that the split has to agree with."),
    ),
    Group.COMMAND: (
        Option("model", ANYTHING, "Name of the model."),
        Option("dataset", ANYTHING, "Name of the data set."),
        Option("config_files", ANYTHING, "YAML files of options, later ones over earlier ones."),
        Option("config_file", ANYTHING, "Of RecBole's own script; nothing reads it."),
    ),
    Group.PROCESSES: (
        Option("nproc", ANYTHING, "Processes, a GPU each."),
        Option("ip", ANYTHING, "Address of the first."),
        Option("port", ANYTHING, "Port of the first."),
        Option("world_size", ANYTHING, "Processes on all machines."),
        Option("group_offset", ANYTHING, "Rank of the first process of this machine."),
        Option("offset", ANYTHING, "RecBole's name for it."),
        Option("local_rank", ANYTHING, "Rank on this machine."),
    ),
    Group.CODE: (
        Option(
            "plugins",
            OrNone(Form("such as my_model.py, or a list of them", _is_text_or_list)),
            "Files (`.py`) or modules to import, which register models, guidance encoders or samplers.",
            _OURS,
        ),
    ),
    Group.DERIVED: (
        Option("MODEL_TYPE", ANYTHING, "From `model`."),
        Option("MODEL_INPUT_TYPE", ANYTHING, "From `model`."),
        Option("eval_type", ANYTHING, "From `metrics`."),
        Option("device", ANYTHING, "From `use_gpu` and `gpu_id`."),
        Option("single_spec", ANYTHING, "Whether there is one process."),
        Option("valid_neg_sample_args", ANYTHING, "From `eval_args`."),
        Option("test_neg_sample_args", ANYTHING, "From `eval_args`."),
        Option("neg_sampling", ANYTHING, "RecBole's old name of `train_neg_sample_args`."),
        Option("training_neg_sample_num", ANYTHING, "RecBole's old name of `train_neg_sample_args`."),
        Option("MASK_INDEX", ANYTHING, "From `transform`."),
        Option("MASK_ITEM_SEQ", ANYTHING, "From `transform`."),
        Option("POS_ITEMS", ANYTHING, "From `transform`."),
        Option("NEG_ITEMS", ANYTHING, "From `transform`."),
        Option("INVERSE_ITEM_SEQ", ANYTHING, "From `transform`."),
        Option("CROP_ITEM_SEQ", ANYTHING, "From `transform`."),
        Option("CROP_ITEM_SEQ_LEN", ANYTHING, "From `transform`."),
        Option("REORDER_ITEM_SEQ", ANYTHING, "From `transform`."),
    ),
}

OPTIONS = {option.name: option for rows in _TABLE.values() for option in rows}


def names_of(*groups: Group) -> tuple[str, ...]:
    """Names of the options of some groups, in the order of the table."""
    return tuple(option.name for group in groups for option in _TABLE[group])


# A file of others is refused for any option that is not in its list.
_DESCRIBE_THE_ROWS = (Group.FILES, Group.COLUMNS, Group.ROWS)
_DESCRIBE_THE_SPLIT = (*_DESCRIBE_THE_ROWS, Group.SPLIT, Group.MASK)
_IN_A_DATA_FOLDER = (*_DESCRIBE_THE_SPLIT, Group.METRICS, Group.EVALUATION, Group.TRAINING)
_SAME_FOR_ALL_MODELS = (Group.ROWS, Group.SPLIT, Group.METRICS)

ROWS = names_of(*_DESCRIBE_THE_ROWS)
ROWS_AND_SPLIT = names_of(*_DESCRIBE_THE_SPLIT, Group.SEED)
IN_A_DATA_FOLDER = names_of(*_IN_A_DATA_FOLDER)
IN_A_CHECKPOINT = names_of(*_IN_A_DATA_FOLDER, Group.SEED, Group.USED, Group.RUN, Group.MACHINE)
# A checkpoint's place is where it is found; wandb sends all options to its server, and plugins run as code, for which
# the user has to ask each time; the others are of the run that wrote it, and over.
PASSED_OVER_IN_A_CHECKPOINT = names_of(Group.OUTPUT, Group.KEPT, Group.CODE)
SAME_FOR_ALL_MODELS = names_of(*_SAME_FOR_ALL_MODELS)  # of an experiment: a difference would be taken for the models'
FIXED_AT_RESUME = names_of(*_SAME_FOR_ALL_MODELS, Group.COLUMNS, Group.MASK, Group.SEED, Group.USED)
HYPERPARAMETERS = names_of(Group.TRAINING)
# Where and how a run is made; its results do not depend on them, but by rounding.
SURROUNDINGS = frozenset(names_of(Group.SEED, Group.MACHINE, Group.OUTPUT, Group.CODE))
