"""What a data set says of its items, beside what a model reads of them."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_cfgdiff.data.atomic_file import AtomicFile, read_file
from recbole_cfgdiff.data.atomic_rows import Texts
from recbole_cfgdiff.data.convert.tokens import unescape


def item_fields(config: Any) -> pd.DataFrame | None:
    """The columns of ``.item``, whatever ``load_col`` says, by item id as RecBole has it; None where there is no such
    file.

    Text, as it was before it was escaped, and numbers; values of several, such as genres, are text. Of an item with
    several lines the first counts.

    Raises:
        ConfigError: if the file is malformed.
    """
    item = config["ITEM_ID_FIELD"]
    path = Path(config["data_path"]) / f"{config['dataset']}.item"
    if not path.is_file():
        return None
    everything = copy.copy(config)
    everything.final_config_dict = {**config.final_config_dict, "load_col": {"item": "*"}, "unload_col": None}
    table = read_file(AtomicFile(path, "item", [item], is_unique=True), everything, hashlib.sha256())
    columns = {field.partition(":")[0]: column for field, column in table.columns.items()}
    ids = columns.pop(item)
    assert isinstance(ids, Texts)  # ids are tokens
    fields = pd.DataFrame({name: _values(column) for name, column in columns.items()}, range(len(ids.codes)))
    fields.index = pd.Index(np.array(ids.words, dtype=object)[ids.codes], name=item)
    return fields[~fields.index.duplicated()]


def _values(column: Any) -> Any:
    if not isinstance(column, Texts):
        return column
    words = np.array([unescape(word) for word in column.words], dtype=object)
    return pd.Series(words[column.codes], dtype=object)
