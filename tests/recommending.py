"""A recommender of random weights: what a list is does not depend on how good the model is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from recbole_cfgdiff.diffusion import Denoiser, NextItemRidge, NextItemsDenoiser
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.catalogue import Catalogue
from recbole_cfgdiff.recommender.ids import Ids
from recbole_cfgdiff.recommender.recommender import Users
from recbole_cfgdiff.recommender.source import HistorySource
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import rows
from recbole_cfgdiff.scoring.parts import PARTS

N_ITEMS, N_USERS = 30, 12
_SMALL: dict[str, dict] = {
    **{model: {"dims_dnn": [16]} for model in ("DiffRec", "CFGDiffRec", "ForwardCFGDiffRec")},
    "NextItemRidge": {},
    "SeqCFGDiffRec": {"hidden_size": 16, "inner_size": 16, "initializer_range": 0.5},
}


def randomise(network: torch.nn.Module) -> None:
    """Let every item have another score, also where a new network says nothing of the items."""
    for module in network.modules():
        if isinstance(module, NextItemRidge):
            torch.nn.init.uniform_(module.coefficients, 0, 0.01)
            module.coefficients[0] = 0  # of the padding item
            module.neighbors.copy_(torch.rand(module.neighbors.shape).argsort(dim=1))
        elif isinstance(module, (Denoiser, NextItemsDenoiser)):
            torch.nn.init.normal_(module.output_weights()[1])


def make_recommender(
    model: str = "CFGDiffRec", n_items: int = N_ITEMS, n_users: int = N_USERS, **options
) -> Recommender:
    """Items ``i1`` to ``i30`` with titles, users ``u1`` to ``u12`` with 3 to 8 of them."""
    parts = PARTS[model]
    defaults = {row.name: row.default for row in rows(parts.hyperparameters)}
    given = parts.hyperparameters.read({**defaults, **_SMALL[model], **options})
    torch.manual_seed(0)
    network = parts.make_network(given, n_items + 1).eval()
    for name in ("input_scale", "output_scale"):  # which come with the weights
        setattr(network, name, getattr(given, name, None) or 1.0)
    randomise(network)
    source = HistorySource(parts.make_scorer(given, n_items + 1, network), given, parts.taken)
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
