"""Where RecBole 1.2.1 would run what an option or a file says, and what is checked so that it does not.

``tests/test_hazards.py`` has every such place in RecBole's source. To go, place by place, with a RecBole that does not.
"""

from __future__ import annotations

import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbole_cfgdiff.errors import ConfigError

# KD_DAGFM evaluates its option `teacher` as code.
_TEACHERS = ("CrossNet", "CIN")


def check_hazards(options: Mapping[str, Any]) -> None:
    """Check the options that RecBole evaluates as code.

    Args:
        options: all options, as RecBole merges them.

    Raises:
        ConfigError: if one is anything but a name that RecBole has for it.
    """
    teacher = options.get("teacher")
    if teacher is not None and teacher not in _TEACHERS:
        raise ConfigError(f"teacher: expected one of {', '.join(_TEACHERS)}, got {teacher!r}; nothing was executed")


def check_files_of_model(config: Any, dataset: Any) -> None:
    """Check the file beside the data that LDiffRec reads as a pickle where it is one.

    Raises:
        ConfigError: if it is missing, or anything but an array of numbers.
    """
    if "LDiffRec" not in {base.__name__ for base in config.model_class.__mro__} or config["n_cate"] <= 1:
        return
    path = Path(dataset.dataset_path) / "item_emb.npy"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        is_numeric = array.ndim == 2 and array.dtype.kind in "fiu" and len(array) == dataset.item_num - 1
    except FileNotFoundError as error:
        raise ConfigError(f"n_cate: LDiffRec with more than one category needs the file {path}") from error
    except (OSError, ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise ConfigError(f"{path}: not a plain numpy array ({error}); nothing in it was executed") from error
    if not is_numeric:
        raise ConfigError(
            f"{path}: expected a row of numbers for each of {dataset.item_num - 1} items, found {array.dtype} "
            f"{array.shape}"
        )
