"""``recommend``: lists by a trained model, for known users and for anybody with a history."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from tabulate import tabulate
from tqdm import tqdm

from recbole_cfgdiff.commands.arguments import add_plugins, import_given_plugins, no_further_options, path
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.recommender.reading import read_histories, read_ids
from recbole_cfgdiff.recommender.recommender import Asked, Lists
from recbole_cfgdiff.recommender.writing import check_ending, write_lists

_SHOWN = 1000  # lists that are printed where there is no file to write
_FOR_WHOM = ("users", "users_file", "all_users", "history", "histories")
_NEW = "new"  # the label of somebody who is given by a history


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("--checkpoint", "--model", type=path, help="a run's folder (saved/RUN), or an exported model")
    add_plugins(parser)
    whom = parser.add_argument_group("for whom, one of these; ids as in the data")
    whom.add_argument("--users", help="known users: 1,2,3")
    whom.add_argument("--users-file", type=path, help="known users: a line each, or column user of a .csv or .parquet")
    whom.add_argument("--all-users", action="store_true", help="everybody whom the model knows")
    whom.add_argument("--history", help="items of somebody new, the earliest first: 50,181; empty: nothing is known")
    whom.add_argument("--histories", type=path, help="several new ones: .csv or .parquet with user, item and time")
    parser.add_argument("--topk", type=int, default=10, help="length of a list (10)")
    parser.add_argument(
        "--guidance-scale", type=float, help="0: unguided, 1: guided, above: extrapolated (the model's)"
    )
    parser.add_argument("--include-seen", action="store_true", help="also items that the user has")
    parser.add_argument("--candidates", type=path, help="the only items: a line each, or column item of a file")
    parser.add_argument("--exclude", type=path, help="items to leave out, likewise")
    parser.add_argument(
        "--diversify", type=float, help="0 to 1, the lambda of maximal marginal relevance; 1: as ranked"
    )
    parser.add_argument("--output", type=path, help=".csv, .jsonl or .parquet (a table on the screen)")


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """Recommend, and print or write the lists."""
    no_further_options(rest)
    if known.checkpoint is None:
        raise ConfigError("checkpoint: none given; add --checkpoint=saved/RUN, or the folder of an exported model")
    given = [name for name in _FOR_WHOM if getattr(known, name) not in (None, False)]
    if len(given) != 1:
        told = ", ".join(f"--{name.replace('_', '-')}" for name in _FOR_WHOM)
        raise ConfigError(f"expected one of {told}, got {' and '.join(given) or 'none'}")
    if known.output is not None:
        check_ending(known.output)
    asked = _asked_for(known)
    import_given_plugins(known)
    recommender = Recommender.load(known.checkpoint)
    labels, lists = _lists(recommender, known, asked)
    if not len(labels):
        raise ConfigError(f"{given[0].replace('_', '-')}: expected somebody to recommend to, got nobody")
    if known.output is None and len(labels) > _SHOWN:
        raise ConfigError(f"output: {len(labels):,} lists are too many for the screen; add --output=lists.csv")
    tables = (recommender.table(labels, batch) for batch in _with_progress(lists, len(labels)))
    if known.output is None:
        print(_shown(tables))
    else:
        write_lists(tables, known.output, recommender.items.title)
        print(f"{len(labels):,} lists: {known.output}")


def _asked_for(known: argparse.Namespace) -> Asked:
    """What the arguments ask for."""
    return Asked(
        topk=known.topk,
        guidance_scale=known.guidance_scale,
        include_seen=known.include_seen,
        exclude=read_ids(known.exclude, "item") if known.exclude else (),
        candidates=read_ids(known.candidates, "item") if known.candidates else None,
        diversify=known.diversify,
    )


def _lists(recommender: Recommender, known: argparse.Namespace, asked: Asked) -> tuple[np.ndarray, Iterator[Lists]]:
    """For whom, and their lists."""
    if known.histories is not None:
        given = read_histories(known.histories)
        return given.labels, recommender.for_histories(given.histories, asked)
    if known.history is not None:
        return np.array([_NEW], dtype=object), recommender.for_histories([_ids(known.history)], asked)
    if known.all_users:
        users: Sequence[str] = list(recommender.known_users().ids.ids)
    else:
        users = read_ids(known.users_file, "user") if known.users_file else _ids(known.users)
    return np.array(users, dtype=object), recommender.for_users(users, asked)


def _ids(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _with_progress(lists: Iterator[Lists], total: int) -> Iterator[Lists]:
    with tqdm(total=total, unit="list", disable=None) as bar:  # None: not where nobody looks
        for batch in lists:
            yield batch
            bar.update(len(batch.rows))


def _shown(tables: Iterator[pd.DataFrame]) -> str:
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        return "no item is left to recommend"
    return tabulate(table, headers="keys", showindex=False, floatfmt=".4f", disable_numparse=[0, 2])
