"""The history embedded, as guidance."""

from __future__ import annotations

import torch
from torch import nn

from recbole_cfgdiff.diffusion.encoders.registry import ProjectedGuidance, register_guidance_encoder
from recbole_cfgdiff.diffusion.fast.sparse import ItemProjection, SparseRows, normalised


@register_guidance_encoder("embedding")
class EmbeddedGuidance(ProjectedGuidance):
    """The L2-normalised guidance through two linear layers of ``embedding_size`` (the paper, Sec. IV-B, does not give
    it), projected. Arguments as of ``GuidanceEncoder``."""

    def __init__(self, n_items: int, embedding_size: int, output_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ItemProjection(n_items, embedding_size),
            nn.Linear(embedding_size, embedding_size, bias=False),
        )
        self.projection = nn.Linear(embedding_size, output_size, bias=False)

    def forward(self, guidance: torch.Tensor | SparseRows) -> torch.Tensor:
        """Shapes ``(B, n_items)`` to ``(B, output_size)``."""
        return self.projection(self.layers(normalised(guidance)))
