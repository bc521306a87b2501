"""The training loss and the reverse process, as functions of a schedule and a denoiser."""

from __future__ import annotations

from typing import Callable

import torch

from recbole_cfgdiff.diffusion.schedule import NoiseSchedule


def denoising_losses(
    schedule: NoiseSchedule,
    mean_type: str,
    reweight: bool,
    prediction: torch.Tensor,
    x_start: torch.Tensor,
    x_t: torch.Tensor,
    t: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Weighted squared error of each user, averaged over the items.

    Args:
        schedule: of ``T`` steps.
        mean_type: what the network predicts, ``x0`` or ``eps``.
        reweight: weight the steps by ``schedule.loss_weights`` (DiffRec Eq. 11 and 12); otherwise all count 1.
        prediction: the network's output, shape ``(B, n)``.
        x_start: clean vectors, shape ``(B, n)``.
        x_t: noised vectors, shape ``(B, n)``.
        t: steps, shape ``(B,)``.
        noise: the noise in ``x_t``, shape ``(B, n)``.

    Returns:
        shape ``(B,)``.
    """
    target = x_start if mean_type == "x0" else noise
    losses = (target - prediction).square().mean(dim=-1)
    if not reweight or schedule.noiseless:
        return losses
    if mean_type == "eps":
        # DiffRec Eq. 12: at step 0 the likelihood of x_0 itself.
        x_start_error = x_start - schedule.predict_x_start(x_t, t, prediction)
        losses = torch.where(t == 0, x_start_error.square().mean(dim=-1) / 2, losses)
    return schedule.loss_weights(mean_type)[t].to(losses.dtype) * losses


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
