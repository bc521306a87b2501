"""A recommender of random weights: what a list is does not depend on how good the model is."""

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

N_ITEMS, N_USERS = 30, 12


def make_recommender(
    model: str = "CFGDiffRec", n_items: int = N_ITEMS, n_users: int = N_USERS, **options
) -> Recommender:
    """Items ``i1`` to ``i30`` with titles, users ``u1`` to ``u12`` with 3 to 8 of them."""
    parts = PARTS[model]
    defaults = {row.name: row.default for row in rows(parts.hyperparameters)}
    given = parts.hyperparameters.read({**defaults, "dims_dnn": [16], **options})
    task = parts.make_task(given, n_items + 1, make_schedule(given))
    torch.manual_seed(0)
    scales = given.input_scale or 1.0, given.output_scale or 1.0
    denoiser = parts.make_denoiser(given, n_items + 1, task.guidance_columns, *scales).eval()
    torch.nn.init.normal_(denoiser.output_layer.bias)
    source = HistorySource(make_scorer(given, task, denoiser), given, hasattr(given, "guidance_scale"))
    random = np.random.default_rng(0)
    histories = [random.choice(n_items, random.integers(3, 9), replace=False) + 1 for _ in range(n_users)]
    users = np.repeat(np.arange(1, n_users + 1), list(map(len, histories)))
    known = Users(
        Ids("user", [f"u{number}" for number in range(1, n_users + 1)]),
        Histories.of_pairs(users, np.concatenate(histories), n_users + 1, n_items + 1),
    )
    titles = [f"Film {number}" for number in range(1, n_items + 1)]
    items = Catalogue(pd.DataFrame({"item": [f"i{n}" for n in range(1, n_items + 1)], "title": titles}))
    about = {"model": model, "dataset": "films", "seed": 2020, "valid": {"ndcg@10": 0.5}, "test": {"ndcg@10": 0.25}}
    return Recommender(source, items, known, 1.0, about)


def history_of(recommender: Recommender, user: str) -> list[str]:
    """A known user's items, the earliest first."""
    known = recommender.known_users()
    selected = known.histories.select(torch.from_numpy(known.ids.numbers([user])))
    return list(recommender.items.ids.of(selected.items.numpy()))
