"""Sets of items, drawn by the reverse process: unmasking item by item, each conditioned on those that were drawn."""

from __future__ import annotations

import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.sequence_scorer import SequenceScorer


@torch.no_grad()
def slate(
    scorer: SequenceScorer,
    history: SparseRows,
    size: int,
    temperature: float = 1.0,
    guidance_scale: float = 1.0,
    block: int = 1,
    barred: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw a set of items for each history.

    The reverse process of the absorbing diffusion (Austin et al. 2021, Sec. 4) with as many steps as there are blocks:
    all ``size`` items are hidden at first; each step shows ``block`` more, drawn from the softmax of the logits without
    repeats (Gumbel top-k, Kool et al. 2019), and predicts the rest anew.

    Args:
        scorer: of a model that was trained with ``n_next`` of at least ``size``, and more than one step, to make use of
            what is shown.
        history: ``B`` histories, entries in time order; their items are not drawn.
        size: number of items of a set ``K``.
        temperature: divides the logits; 0 takes the largest.
        guidance_scale: any finite number.
        block: items that a step shows.
        barred: numbers of further items that are not drawn; the padding item never is.
        generator: of the random numbers; None is torch's own.

    Returns:
        items in the order in which they were drawn, int64, shape ``(B, size)``.
    """
    start = _start(scorer, history)
    free = _free(scorer, history)
    if barred is not None:
        free[:, barred] = -torch.inf
    drawn = history.items.new_zeros(len(history), 0)
    while drawn.shape[1] < size:
        logits = _logits(scorer, start, drawn, size, guidance_scale) + free
        if temperature > 0:
            noise = torch.rand(logits.shape, device=logits.device, generator=generator)
            logits = logits / temperature - (-noise.log()).log()
        chosen = logits.topk(min(block, size - drawn.shape[1]), dim=1).indices
        free.scatter_(1, chosen, -torch.inf)
        drawn = torch.cat([drawn, chosen], dim=1)
    return drawn


_Start = tuple[torch.Tensor, torch.Tensor | None]  # guidance and prior logits


def _start(scorer: SequenceScorer, history: SparseRows) -> _Start:
    """What the history tells, whatever is drawn."""
    items = scorer.read(history)
    return scorer.guidance(items), scorer.prior_logits(items)


def _free(scorer: SequenceScorer, history: SparseRows) -> torch.Tensor:
    """0 for items that may be drawn, minus infinity for those of the history and the padding item; ``(B, n)``."""
    free = scorer.denoiser.output_bias.new_zeros(history.shape)
    free[history.row, history.items] = -torch.inf
    free[:, 0] = -torch.inf
    return free


def _logits(
    scorer: SequenceScorer, start: _Start, drawn: torch.Tensor, size: int, guidance_scale: float
) -> torch.Tensor:
    """Of all items, with those shown that were drawn; shape ``(B, n)``."""
    n_shown = drawn.shape[1]
    t = max(1, round(scorer.steps * (size - n_shown) / size))  # the step at which as large a share is hidden
    shown = scorer.denoiser.embed(drawn, torch.ones_like(drawn, dtype=torch.bool)) if n_shown else None
    return scorer.logits(*start, guidance_scale, shown, t)


@torch.no_grad()
def beam_slate(
    scorer: SequenceScorer, history: SparseRows, size: int, width: int, guidance_scale: float = 1.0
) -> torch.Tensor:
    """The likeliest set that a beam of ``width`` finds, item by item: the sum of the logarithms of the probabilities
    with which its items are unmasked one after another. Arguments and result as of ``slate``."""
    batch, n_items = history.shape
    rows = torch.arange(batch, device=history.items.device)
    guidance, prior = _start(scorer, history)
    start = (guidance.repeat_interleave(width, dim=0), None if prior is None else prior.repeat_interleave(width, dim=0))
    free = _free(scorer, history).repeat_interleave(width, dim=0)
    drawn = history.items.new_zeros(batch * width, 0)
    # At first all beams are alike: one is enough.
    total = torch.full((batch, width), -torch.inf, device=guidance.device)
    total[:, 0] = 0
    for _ in range(size):
        logits = _logits(scorer, start, drawn, size, guidance_scale) + free
        extended = (total[:, :, None] + torch.log_softmax(logits, dim=1).view(batch, width, n_items)).flatten(1)
        total, best = extended.topk(width, dim=1)
        parent = (rows[:, None] * width + best // n_items).flatten()
        item = (best % n_items).flatten()
        free = free[parent].scatter(1, item[:, None], -torch.inf)
        drawn = torch.cat([drawn[parent], item[:, None]], dim=1)
    return drawn.view(batch, width, size)[:, 0]
