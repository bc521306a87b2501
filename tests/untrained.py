"""Recommenders of random weights: whatever a model computes, in no time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.catalogue import Catalogue
from recbole_cfgdiff.recommender.ids import Ids
from recbole_cfgdiff.recommender.recommender import Users
from recbole_cfgdiff.recommender.source import HistorySource
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import rows
from recbole_cfgdiff.scoring.parts import PARTS, make_schedule, make_scorer


def an_untrained(
    model: str, n_items: int = 40, n_users: int = 10, guidance_scale: float = 1.0, **options: object
) -> Recommender:
    """Of items ``i1, i2, ...`` and users ``u1, ...``, who have 0, 1, 2, ... up to 20 of them, in random order."""
    parts = PARTS[model]
    defaults = {row.name: row.default for row in rows(parts.hyperparameters)}
    small = {"dims_dnn": [12, 9], "guidance_embedding_size": 5}
    given = parts.hyperparameters.read({**defaults, **small, **options})
    task = parts.make_task(given, n_items + 1, make_schedule(given))
    torch.manual_seed(0)
    denoiser = parts.make_denoiser(given, n_items + 1, task.guidance_columns, 0.5, 0.7)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.mul_(2) if parameter.dim() > 1 else parameter.normal_(std=0.1)
    source = HistorySource(make_scorer(given, task, denoiser.eval()), given, model != "DiffRec")
    items = Catalogue(pd.DataFrame({"item": [f"i{number}" for number in range(1, n_items + 1)]}))
    return Recommender(source, items, _users(n_users, n_items), guidance_scale, {"model": model})


def _users(n_users: int, n_items: int) -> Users:
    random = np.random.default_rng(0)
    lists = [random.permutation(n_items)[: user % 21] + 1 for user in range(n_users)]
    numbers = np.repeat(np.arange(1, n_users + 1), [len(each) for each in lists])
    histories = Histories.of_pairs(numbers, np.concatenate(lists), n_users + 1, n_items + 1)
    return Users(Ids("user", [f"u{number}" for number in range(1, n_users + 1)]), histories)
