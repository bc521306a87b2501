"""Sets of items: drawn by unmasking, beside the best of the marginals and what is usual for more variety.

    python docs/sequences/slates.py --checkpoint=RUN --output=docs/sequences/slates-DATASET

Of a trained SeqCFGDiffRec with ``n_next`` of at least ``--size``, on the validation and the test rows of all users:

- marginals: the ``--size`` items of the largest logits;
- unmasking: an item at a time (the block is 1), or several, the likeliest (temperature 0) or drawn;
- maximal marginal relevance over the items' vectors, at several trade-offs, of the 10 ``--size`` best;
- beam: of the sequences of ``--size`` items, drawn one after another, the likeliest that a beam finds.

A set is measured by hit (whether a target is in it), by recall, by intra-list similarity (the mean cosine of the users
who have both items, over the training rows) and by coverage. Writes ``slates.csv``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix

from recbole_cfgdiff.diffusion import SequenceScorer, SparseRows
from recbole_cfgdiff.diffusion.slates import beam_slate, slate
from recbole_cfgdiff.evaluation.reading import given_histories
from recbole_cfgdiff.recommender.diversify import maximal_marginal_relevance
from recbole_cfgdiff.runs.prepare import load_trained

Draw = Callable[[SequenceScorer, SparseRows, int], torch.Tensor]


def ranked(scorer: SequenceScorer, history: SparseRows, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and items of the ``k`` best that the history has not."""
    scores = next(scorer.sweep(history, [1.0]))
    scores[history.row, history.items] = -torch.inf
    scores[:, 0] = -torch.inf
    return scores.topk(k, dim=1)


def marginals(scorer: SequenceScorer, history: SparseRows, size: int) -> torch.Tensor:
    return ranked(scorer, history, size)[1]


def by_relevance(trade_off: float) -> Draw:
    def draw(scorer: SequenceScorer, history: SparseRows, size: int) -> torch.Tensor:
        scores, items = ranked(scorer, history, 10 * size)
        vectors = scorer.similarity_vectors()[items]
        return items.gather(1, maximal_marginal_relevance(scores, vectors, size, trade_off))

    return draw


def unmasking(temperature: float, block: int) -> Draw:
    return lambda scorer, history, size: slate(scorer, history, size, temperature, block=block)


WAYS: dict[str, Draw] = {
    "marginals": marginals,
    **{f"unmasking, temperature {t:g}": unmasking(t, 1) for t in (0.0, 0.25, 0.5, 1.0)},
    **{f"unmasking, temperature 0, block {block}": unmasking(0.0, block) for block in (2, 5)},
    **{f"maximal marginal relevance {trade_off:g}": by_relevance(trade_off) for trade_off in (0.9, 0.7, 0.5)},
    "beam of 4": lambda scorer, history, size: beam_slate(scorer, history, size, 4),
}


def cosines(train_data: Any) -> csr_matrix:
    """Of the items' columns of the training matrix; their products are cosines."""
    dataset = train_data._dataset
    matrix = dataset.inter_matrix(form="csr").astype(np.float64)
    matrix.data[:] = 1
    norms = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
    return csr_matrix(matrix.multiply(1 / np.maximum(norms, 1)).T)


def similarity(vectors: csr_matrix, items: np.ndarray) -> float:
    """Mean over the sets of the mean cosine of two of its items; ``items`` of shape ``(B, k)``."""
    k, total = items.shape[1], 0.0
    for row in items:
        gram = (vectors[row] @ vectors[row].T).toarray()
        total += (gram.sum() - np.trace(gram)) / (k * (k - 1))
    return total / len(items)


def measure(prepared: Any, loader: Any, size: int) -> Iterator[dict[str, Any]]:
    """A row for each way."""
    model = prepared.trainer.model.eval()
    vectors = cosines(prepared.train_data)
    for way, draw in WAYS.items():
        torch.manual_seed(0)
        items, hits, recalls = [], [], []
        with given_histories(model, loader):
            for interaction, _, rows, targets in loader:
                history = model.histories.select(interaction[model.USER_ID])
                drawn = draw(model.scorer, history, size)
                is_target = torch.zeros(len(history), model.n_items, dtype=torch.bool)
                is_target[rows, targets] = True
                found = is_target.gather(1, drawn).sum(1).numpy()
                items.append(drawn.numpy())
                hits.append(found > 0)
                recalls.append(found / is_target.sum(1).numpy())
        sets = np.concatenate(items)
        yield {
            "way": way,
            "hit": np.concatenate(hits).mean(),
            "recall": np.concatenate(recalls).mean(),
            "intra_list_similarity": similarity(vectors, sets),
            "coverage": len(np.unique(sets)) / (model.n_items - 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--size", type=int, default=10)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    prepared = load_trained(arguments.checkpoint)
    parts = {"valid": prepared.valid_data, "test": prepared.test_data}
    table = pd.DataFrame(
        [{"part": part, **row} for part, loader in parts.items() for row in measure(prepared, loader, arguments.size)]
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.output / "slates.csv", index=False)
    print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
