"""The reverse process in the space of the items: the reference."""

from __future__ import annotations

from typing import Callable

import torch

from recbole_cfgdiff.diffusion.schedule import NoiseSchedule


def reverse_process(
    schedule: NoiseSchedule,
    mean_type: str,
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x_T: torch.Tensor,
    sampling_noise: bool = False,
) -> torch.Tensor:
    """From ``x_T`` to ``x_0`` by all ``T`` steps, in the space of the items: the reference (DDPM Algorithm 2).

    Args:
        schedule: of ``T`` steps.
        mean_type: what ``predict`` returns, ``x0`` or ``eps``.
        predict: maps ``x_t`` of shape ``(B, n)`` and ``t`` of shape ``(1,)`` to a prediction of shape ``(B, n)``.
        x_T: where to start, shape ``(B, n)``.
        sampling_noise: draw from each posterior instead of taking its mean.

    Returns:
        shape ``(B, n)``.
    """
    x_t = x_T
    for step in reversed(range(schedule.steps)):
        t = torch.tensor([step], device=x_t.device)
        prediction = predict(x_t, t)
        # Without noise there is nothing to predict but x_0, whatever it is called (RecBole's noise_scale: 0).
        as_x_start = mean_type == "x0" or schedule.noiseless
        x_start = prediction if as_x_start else schedule.predict_x_start(x_t, t, prediction)
        x_t = schedule.posterior_mean(x_start, x_t, t)
        if sampling_noise:
            x_t = x_t + schedule.posterior_std[t].to(x_t.dtype) * torch.randn_like(x_t)
    return x_t
