"""Lists whose items differ from each other: maximal marginal relevance."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def maximal_marginal_relevance(
    scores: torch.Tensor, vectors: torch.Tensor, topk: int, trade_off: float
) -> torch.Tensor:
    """Choose items one after another, each the one of the largest
    ``trade_off relevance - (1 - trade_off) max over the chosen of similarity`` (Carbonell & Goldstein 1998).

    Relevance is the score, brought to [0, 1] among the candidates of a user; similarity the cosine of the items'
    vectors.

    Args:
        scores: of the candidates, shape ``(B, m)``; minus infinity for what is none.
        vectors: of the candidates, shape ``(B, m, k)``.
        topk: how many to choose, at most ``m``.
        trade_off: their ``lambda``, in [0, 1]: 1 keeps the order of the scores.

    Returns:
        places among the candidates, best first, all different, int64, shape ``(B, topk)``; those of what is none come
        after all others.
    """
    is_candidate = scores.isfinite()
    lowest = scores.masked_fill(~is_candidate, torch.inf).amin(dim=1, keepdim=True)
    span = (scores.amax(dim=1, keepdim=True) - lowest).clamp(min=torch.finfo(scores.dtype).tiny)
    relevance = (scores - lowest) / span
    directions = F.normalize(vectors, dim=-1)
    closest = torch.zeros_like(scores)  # to any chosen item; the first is chosen by relevance alone
    is_chosen, chosen, rows = torch.zeros_like(is_candidate), [], torch.arange(len(scores), device=scores.device)
    for place in range(topk):
        gain = trade_off * relevance - (1 - trade_off) * closest if place else relevance
        gain = gain.masked_fill(~is_candidate, torch.finfo(gain.dtype).min)
        best = gain.masked_fill(is_chosen, -torch.inf).argmax(dim=1)
        chosen.append(best)
        is_chosen[rows, best] = True
        similarity = torch.einsum("bmk,bk->bm", directions, directions[rows, best])
        closest = torch.maximum(closest, similarity) if place else similarity
    return torch.stack(chosen, dim=1)
