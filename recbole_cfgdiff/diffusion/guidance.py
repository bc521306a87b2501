"""Classifier-free guidance (Ho & Salimans 2022) for recommendation (Buchanan et al.: "the paper").

The guidance of a user is a vector over the items, usually the history before any noise; all zeros is the null
guidance, which contributes exactly nothing to the denoiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows

Code = TypeVar("Code")


def drop_guidance(guidance: SparseRows, p_uncond: float) -> SparseRows:
    """Replace the guidance of each user by the null guidance with probability ``p_uncond``, in [0, 1]."""
    return guidance.scaled(torch.rand(len(guidance), device=guidance.values.device) >= p_uncond)


def branches(guidance_code: Code | None, guidance_scale: float) -> list[Code | None]:
    """Under which guidance to predict, for ``guided_prediction``: none of a branch whose weight is zero.

    Args:
        guidance_code: the encoded guidance, or None for a model without guidance.
        guidance_scale: any finite number.

    Returns:
        one or both of None, the null guidance, and ``guidance_code``.
    """
    if guidance_code is None or guidance_scale == 0:
        return [None]
    return [guidance_code] if guidance_scale == 1 else [None, guidance_code]


def guided_prediction(predictions: Sequence[torch.Tensor], guidance_scale: float | torch.Tensor) -> torch.Tensor:
    """``pred_uncond + guidance_scale * (pred_cond - pred_uncond)``.

    Ho & Salimans (2022), Eq. 6, with their ``w = guidance_scale - 1``: 0 is unconditional, 1 conditional, above 1
    extrapolates. Combining predictions of the noise or of ``x_0`` is the same, one being affine in the other; so is
    combining the last hidden layers, which the prediction is affine in.

    Args:
        predictions: of the ``branches``, of one shape.
        guidance_scale: that of the branches; a tensor has no dimension.

    Returns:
        the shape of a prediction.
    """
    if len(predictions) == 1:
        return predictions[0]
    unconditional, conditional = predictions
    return torch.lerp(unconditional, conditional, guidance_scale)
