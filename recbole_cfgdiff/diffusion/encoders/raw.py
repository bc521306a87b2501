"""The history itself as guidance."""

from __future__ import annotations

import torch

from recbole_cfgdiff.diffusion.encoders.registry import ProjectedGuidance, register_guidance_encoder
from recbole_cfgdiff.diffusion.fast.sparse import ItemProjection, SparseRows, normalised


@register_guidance_encoder("raw")
class RawGuidance(ProjectedGuidance):
    """The L2-normalised guidance itself, projected: the paper's concatenation (Sec. III-B).

    A linear layer on ``[x_t, g]`` is the sum of a linear layer on ``x_t`` and one on ``g``; this is the second.
    Arguments as of ``GuidanceEncoder``; ``embedding_size`` is not used.
    """

    def __init__(self, n_items: int, embedding_size: int, output_size: int) -> None:
        super().__init__()
        self.projection = ItemProjection(n_items, output_size)

    def forward(self, guidance: torch.Tensor | SparseRows) -> torch.Tensor:
        """Shapes ``(B, n_items)`` to ``(B, output_size)``."""
        return self.projection(normalised(guidance))
