"""The reverse process in the space of the items: the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from recbole_cfgdiff.diffusion.samplers import Step


def reverse_process(
    steps: Sequence[Step],
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x_T: torch.Tensor,
    sampling_noise: bool = False,
) -> torch.Tensor:
    """From ``x_T`` to ``x_0``, in the space of the items (DDPM Algorithm 2).

    Args:
        steps: of a sampler.
        predict: maps ``x_t`` of shape ``(B, n)`` and ``t`` of shape ``(1,)`` to a prediction of shape ``(B, n)``.
        x_T: where to start, shape ``(B, n)``.
        sampling_noise: draw each ``x_t`` with the step's deviation instead of taking its mean.

    Returns:
        shape ``(B, n)``.
    """
    x_t = x_T
    for step in steps:
        prediction = predict(x_t, torch.tensor([step.t], device=x_t.device))
        x_t = step.of_prediction * prediction + step.of_x_t * x_t
        if sampling_noise:
            x_t = x_t + step.noise_std * torch.randn_like(x_t)
    return x_t
