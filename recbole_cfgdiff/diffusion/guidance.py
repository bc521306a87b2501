"""Classifier-free guidance (Ho & Salimans 2022) for recommendation (Buchanan et al.: "the paper").

The guidance of a user is a vector over the items, usually the history before any noise; all zeros is the null
guidance. Encoders have no bias, so the null guidance contributes exactly nothing to the denoiser.
"""

from __future__ import annotations

from typing import Callable, Optional

import torch
from torch import nn

from recbole_cfgdiff.diffusion.sparse import ItemProjection, SparseRows, normalised

GUIDANCE_ENCODERS = ("raw", "embedding")

Predict = Callable[[Optional[torch.Tensor]], torch.Tensor]


class RawGuidance(nn.Module):
    """The L2-normalised guidance itself, projected: the paper's concatenation (Sec. III-B).

    A linear layer on ``[x_t, g]`` is the sum of a linear layer on ``x_t`` and one on ``g``; this is the second.

    Args:
        n_items: number of items ``n``.
        output_size: width of the denoiser's first hidden layer.
    """

    def __init__(self, n_items: int, output_size: int) -> None:
        super().__init__()
        self.projection = ItemProjection(n_items, output_size)

    def forward(self, guidance: torch.Tensor | SparseRows) -> torch.Tensor:
        """Shapes ``(B, n)`` to ``(B, output_size)``."""
        return self.projection(normalised(guidance))


class EmbeddedGuidance(nn.Module):
    """The L2-normalised guidance through two linear layers of a smaller size, projected (the paper, Sec. IV-B).

    Args:
        n_items: number of items ``n``.
        embedding_size: width of the two layers (the paper does not give it).
        output_size: width of the denoiser's first hidden layer.
    """

    def __init__(self, n_items: int, embedding_size: int, output_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ItemProjection(n_items, embedding_size),
            nn.Linear(embedding_size, embedding_size, bias=False),
        )
        self.projection = nn.Linear(embedding_size, output_size, bias=False)

    def forward(self, guidance: torch.Tensor | SparseRows) -> torch.Tensor:
        """Shapes ``(B, n)`` to ``(B, output_size)``."""
        return self.projection(self.layers(normalised(guidance)))


def make_guidance_encoder(guidance_encoder: str, n_items: int, embedding_size: int, output_size: int) -> nn.Module:
    """The encoder called ``raw`` or ``embedding``; sizes as above.

    Raises:
        ValueError: on another name.
    """
    if guidance_encoder == "raw":
        return RawGuidance(n_items, output_size)
    if guidance_encoder == "embedding":
        return EmbeddedGuidance(n_items, embedding_size, output_size)
    raise ValueError(f"guidance_encoder: expected one of {', '.join(GUIDANCE_ENCODERS)}, got {guidance_encoder!r}")


def drop_guidance(guidance: SparseRows, p_uncond: float) -> SparseRows:
    """Replace the guidance of each user by the null guidance with probability ``p_uncond``, in [0, 1]."""
    return guidance.scaled(torch.rand(len(guidance), device=guidance.values.device) >= p_uncond)


def guided_prediction(predict: Predict, guidance_code: torch.Tensor | None, guidance_scale: float) -> torch.Tensor:
    """``pred_uncond + guidance_scale * (pred_cond - pred_uncond)``.

    Ho & Salimans (2022), Eq. 6, with their ``w = guidance_scale - 1``: 0 is unconditional, 1 conditional, above 1
    extrapolates. Combining predictions of the noise or of ``x_0`` is the same, one being affine in the other; so is
    combining the last hidden layers, which the prediction is affine in. A branch with weight zero is not computed.

    Args:
        predict: the prediction under a guidance, or under the null guidance, None.
        guidance_code: the encoded guidance, shape ``(B, h)``, or None for a model without guidance.
        guidance_scale: any finite number.

    Returns:
        the shape of ``predict``'s.
    """
    if guidance_code is None or guidance_scale == 0:
        return predict(None)
    conditional = predict(guidance_code)
    if guidance_scale == 1:
        return conditional
    return torch.lerp(predict(None), conditional, guidance_scale)
