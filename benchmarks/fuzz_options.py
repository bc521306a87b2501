"""Odd values for every option of every shipped YAML file, ours and RecBole's, on the command line and in files.

Models of ours are trained for an epoch; RecBole's are made and not trained, since what their own code does with a
hyperparameter of the right type while it trains is RecBole's to check.
"""

from __future__ import annotations

import contextlib
import io
import random
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import yaml
from recbole.utils import ModelType

from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.model import MODELS
from recbole_cfgdiff.overlay.config import parse_literal, resolve_model
from recbole_cfgdiff.overlay.hyperparameters import model_files
from recbole_cfgdiff.overlay.trainer import CheckpointTrainer
from recbole_cfgdiff.properties import PROPERTIES, RECBOLE_PROPERTIES, top_level_keys

VALUES: list[Any] = [
    "",
    " ",
    "None",
    "True",
    "false",
    "0",
    "-1",
    "1",
    "3",
    "0.5",
    "-0.0",
    "1e-400",
    "1e999",
    "-inf",
    "nan",
    "1" * 40,
    "abc",
    "NDCG@10",
    "full",
    "[]",
    "[1]",
    "[1, 'a', None]",
    "['user_id', 'item_id', 'timestamp']",
    "[[[]]]",
    "()",
    "(1,)",
    "{}",
    "{'a': 1}",
    "{'inter': ['timestamp']}",
    "{'timestamp': '[4,inf)'}",
    "{1: 2}",
    "[0,inf)",
    "[5,inf",
    ">=3",
    "(3,2)",
    "b'x'",
    "{1, 2}",
    "1+1",
    "lambda: 1",
    "__import__('os').system('touch executed')",
    "../x",
    "/",
    "a/b",
    "-x",
    "=1+1",
    "ünï 漢字",
    "\u2028",
    "\x1b[31m",
    "[" * 200,
    "a" * 5000,
]
# Where and how long a run is, which the harness sets.
_SET_HERE = {"epochs", "data_path", "nproc", "config_file", "gpu_id", "use_gpu"}
_SHORT = ["--show_progress=False", "--state=ERROR"]
_RANKING = ["--topk=[5]", "--valid_metric=NDCG@5"]
# What models of a type need to be made at all.
_OF_TYPE = {
    ModelType.SEQUENTIAL: [*_RANKING, "--train_neg_sample_args=None"],
    ModelType.CONTEXT: ["--load_col={'inter': ['user_id', 'item_id', 'timestamp', 'label']}"],
}


class _ReadyToTrain(Exception):
    """In place of training a model of RecBole's."""


def check(seed: int, folder: Path) -> str | None:
    """Give one option an odd value, or two of them, and run.

    Args:
        seed: of the choice.
        folder: empty; the working folder.

    Returns:
        what was wrong, or None.
    """
    chance = random.Random(seed)
    model = chance.choice(_models())
    names = sorted(_options_of(model) - _SET_HERE)
    given = {name: chance.choice(VALUES) for name in chance.sample(names, chance.choice([1, 1, 1, 2]))}
    _write_data(folder)
    usual = [*_SHORT, *_OF_TYPE.get(getattr(resolve_model(model), "type", None), _RANKING)]
    arguments = ["run", f"--model={model}", "--dataset=tiny", "--epochs=1"]
    arguments += [each for each in usual if each[2:].partition("=")[0] not in given]
    if chance.random() < 0.3:
        typed = {name: parse_literal(value) for name, value in given.items()}
        (folder / "odd.yaml").write_text(yaml.safe_dump(typed), encoding="utf-8")
        arguments.append("--config_files=odd.yaml")
    else:
        arguments += [f"--{name}={value}" for name, value in given.items()]
    problem = _problem_of(arguments, model)
    if problem is None and (folder / "executed").exists():
        problem = "code ran"
    return f"{model} {given}: {problem}" if problem else None


def _problem_of(arguments: list[str], model: str) -> str | None:
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _no_training_of_recboles(model):
            status = main(arguments)
    except _ReadyToTrain:
        return None
    except BaseException as error:
        return f"a traceback: {type(error).__name__}: {error}"
    told = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    if status not in (0, 1, 2):
        return f"exit status {status}"
    if status and (len(told) != 1 or not err.getvalue().strip().splitlines()[-1].startswith("error: ")):
        return f"exit status {status} and {len(told)} error lines"
    return None


@contextlib.contextmanager
def _no_training_of_recboles(model: str) -> Any:
    if model in MODELS:
        yield
        return
    with mock.patch.object(CheckpointTrainer, "fit", side_effect=_ReadyToTrain):
        yield


@lru_cache
def _models() -> list[str]:
    """Ours as often as all of RecBole's that the packages here can make."""
    found = []
    for path in sorted((RECBOLE_PROPERTIES / "model").glob("*.yaml")):
        with contextlib.suppress(ValueError):
            resolve_model(path.stem)
            found.append(path.stem)
    ours = sorted(MODELS)
    return ours * (len(found) // len(ours)) + found


@lru_cache
def _options_of(model: str) -> set[str]:
    files = [
        RECBOLE_PROPERTIES / "overall.yaml",
        PROPERTIES / "overall.yaml",
        RECBOLE_PROPERTIES / "dataset" / "sample.yaml",
        *model_files(resolve_model(model)),
    ]
    return set().union(*map(top_level_keys, files)) | {"run_name", "encoding"}


def _write_data(folder: Path) -> None:
    target = folder / "dataset" / "tiny"
    target.mkdir(parents=True)
    chance = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\ttimestamp:float\tlabel:float"]
    for user in range(20):
        items = chance.choice(30, size=12, replace=False)
        lines += [
            f"u{user}\ti{item}\t{1_400_000_000 + 60 * user + place}\t{place % 2}" for place, item in enumerate(items)
        ]
    (target / "tiny.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
