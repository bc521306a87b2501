"""Noise schedules and the closed forms that follow from them.

Notation: Ho et al. (2020), "Denoising Diffusion Probabilistic Models" (DDPM), and Wang et al. (2023), "Diffusion
Recommender Model" (DiffRec). Steps are counted from 0 (least noise) to ``T - 1``. Everything is kept in float64 and
cast to the type of the data where it is used: ``1 - alphas_cumprod`` falls to 1e-7, where float32 has no digits left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows

MEAN_TYPES = ("x0", "eps")
NOISE_SCHEDULES = ("linear", "linear-var", "cosine", "binomial")

_MAX_BETA = 0.999
_FIXED_FIRST_BETA = 1e-5


def make_betas(
    noise_schedule: str, steps: int, noise_scale: float, noise_min: float, noise_max: float, beta_fixed: bool
) -> torch.Tensor:
    """The variances of the forward process.

    Args:
        noise_schedule: ``linear`` (the betas rise linearly), ``linear-var`` (``1 - alphas_cumprod`` does; DiffRec
            Eq. 4), ``cosine`` (Nichol & Dhariwal 2021, Eq. 17) or ``binomial`` (Sohl-Dickstein et al. 2015, 2.4.1).
        steps: number of diffusion steps ``T``, at least 1.
        noise_scale: factor of ``noise_min`` and ``noise_max``; 0 stands for no noise at all, in any schedule.
        noise_min: lower end of the linear schedules.
        noise_max: upper end of the linear schedules.
        beta_fixed: set the first beta to 1e-5, which RecBole's DiffRec does against overfitting.

    Returns:
        float64 tensor of shape ``(T,)``.

    Raises:
        ValueError: on an unknown schedule, ``steps`` below 1 or a beta outside (0, 1].
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, got {steps}")
    if noise_scale == 0:
        return torch.zeros(steps, dtype=torch.float64)
    ramp = np.linspace(noise_scale * noise_min, noise_scale * noise_max, steps)
    if noise_schedule == "linear":
        betas = ramp
    elif noise_schedule == "linear-var":
        betas = _betas_of_alphas_cumprod(1 - ramp)
    elif noise_schedule == "cosine":
        time = np.arange(steps + 1) / steps
        curve = np.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = np.minimum(1 - curve[1:] / curve[:-1], _MAX_BETA)
    elif noise_schedule == "binomial":
        betas = 1 / (steps - np.arange(steps) + 1)
    else:
        raise ValueError(f"noise_schedule: expected one of {', '.join(NOISE_SCHEDULES)}, got {noise_schedule!r}")
    if beta_fixed:
        betas[0] = _FIXED_FIRST_BETA
    _check_betas(betas)
    return torch.as_tensor(betas, dtype=torch.float64)


def _betas_of_alphas_cumprod(alphas_cumprod: np.ndarray) -> np.ndarray:
    """``beta_t = 1 - alphas_cumprod_t / alphas_cumprod_{t-1}``, capped."""
    ratio = alphas_cumprod[1:] / alphas_cumprod[:-1]
    return np.concatenate([1 - alphas_cumprod[:1], np.minimum(1 - ratio, _MAX_BETA)])


def _check_betas(betas: np.ndarray) -> None:
    wrong = ~((betas > 0) & (betas <= 1))
    if wrong.any():
        step = int(np.argmax(wrong))
        raise ValueError(
            f"betas out of range: beta is {betas[step]:.6g} at step {step}, expected a value in (0, 1]; "
            "change noise_scale, noise_min or noise_max"
        )


class NoiseSchedule(nn.Module):
    """Closed forms of the forward process and of its posterior, for given betas.

    Args:
        betas: float64 tensor of shape ``(T,)``; all zeros stand for "no noise" (RecBole's ``noise_scale: 0``), where
            ``q_sample`` returns its input and a reverse step returns the network's output.

    The buffers, each of shape ``(T,)``, are derived from the options and therefore not saved with a model.
    """

    betas: torch.Tensor
    alphas_cumprod: torch.Tensor
    alphas_cumprod_prev: torch.Tensor
    posterior_mean_coef1: torch.Tensor
    posterior_mean_coef2: torch.Tensor
    posterior_std: torch.Tensor

    def __init__(self, betas: torch.Tensor) -> None:
        super().__init__()
        self.steps = len(betas)
        self.noiseless = bool((betas == 0).all())
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        alphas_cumprod_prev = torch.cat([torch.ones(1, dtype=betas.dtype, device=betas.device), alphas_cumprod[:-1]])
        noise_variance = 1 - alphas_cumprod
        # DDPM Eq. 7, DiffRec Eq. 10. At step 0 the limits are exactly 1, 0 and 0; the formulas leave 6e-10.
        coef1 = betas * alphas_cumprod_prev.sqrt() / noise_variance
        coef2 = (1 - alphas_cumprod_prev) * (1 - betas).sqrt() / noise_variance
        variance = betas * (1 - alphas_cumprod_prev) / noise_variance
        exact = slice(None) if self.noiseless else slice(1)
        coef1[exact], coef2[exact], variance[exact] = 1.0, 0.0, 0.0
        for name, value in {
            "betas": betas,
            "alphas_cumprod": alphas_cumprod,
            "alphas_cumprod_prev": alphas_cumprod_prev,
            "posterior_mean_coef1": coef1,
            "posterior_mean_coef2": coef2,
            "posterior_std": variance.sqrt(),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def q_sample(
        self, x_start: SparseRows, t: torch.Tensor, noise: torch.Tensor, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``x_t = sqrt(alphas_cumprod_t) x_0 + sqrt(1 - alphas_cumprod_t) eps`` (DDPM Eq. 4; the paper's Eq. 2).

        Args:
            x_start: shape ``(B, n)``.
            t: steps, shape ``(B,)`` or ``(1,)``.
            noise: standard normal, shape ``(B, n)``.
            out: where to put the result, ``noise`` itself for one.

        Returns:
            shape ``(B, n)``.
        """
        deviation = _column((1 - self.alphas_cumprod[t]).sqrt(), noise)
        return x_start.scaled(self.alphas_cumprod[t].sqrt()).add_to(torch.mul(noise, deviation, out=out))

    def respaced(self, timesteps: Sequence[int]) -> NoiseSchedule:
        """The schedule of some of the steps only: its ``alphas_cumprod`` are those of the ``timesteps``, ascending
        (Nichol & Dhariwal 2021, Sec. 4)."""
        if len(timesteps) == self.steps:
            return self
        starts = [0, *(t + 1 for t in timesteps[:-1])]
        alphas = [(1 - self.betas[start : t + 1]).prod() for start, t in zip(starts, timesteps)]
        return NoiseSchedule(1 - torch.stack(alphas))

    def step_coefficients(self, mean_type: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean of ``q(x_{t-1} | x_t, x_0)`` at the predicted ``x_0`` (DDPM Eq. 7, DiffRec Eq. 10), as an affine
        map: ``x_{t-1} = alpha_t x_t + beta_t prediction_t``, each of shape ``(T,)``.

        For ``eps`` with ``x_0 = sqrt(1 / alphas_cumprod) x_t - sqrt(1 / alphas_cumprod - 1) eps`` put in (DDPM Eq. 4
        solved for ``x_0``).
        """
        if mean_type == "x0" or self.noiseless:
            return self.posterior_mean_coef2, self.posterior_mean_coef1
        of_x_t = (1 / self.alphas_cumprod).sqrt()
        of_eps = (1 / self.alphas_cumprod - 1).sqrt()
        return (
            self.posterior_mean_coef1 * of_x_t + self.posterior_mean_coef2,
            -self.posterior_mean_coef1 * of_eps,
        )

    def loss_weights(self, mean_type: str) -> torch.Tensor:
        """Weight of the squared error of the prediction at each step, shape ``(T,)``.

        ``x0``: ``SNR(t-1) - SNR(t)`` with ``SNR = alphas_cumprod / (1 - alphas_cumprod)``, and 1 at step 0 (DiffRec
        Eq. 11 and 12).
        ``eps``: ``(1 - alphas_cumprod_t) / ((1 - alphas_cumprod_{t-1})^2 (1 - beta_t))`` (as RecBole's DiffRec). At
        step 0 the loss is half the squared error of ``x_0`` (DiffRec Eq. 12), which by DDPM Eq. 4 is the error of the
        noise times ``(1 / alphas_cumprod_0 - 1) / 2``.
        """
        if self.noiseless:
            return torch.ones_like(self.betas)
        if mean_type == "x0":
            snr = self.alphas_cumprod / (1 - self.alphas_cumprod)
            weights = snr.roll(1) - snr
            weights[0] = 1.0
        else:
            weights = (1 - self.alphas_cumprod) / ((1 - self.alphas_cumprod_prev) ** 2 * (1 - self.betas))
            weights[0] = (1 / self.alphas_cumprod[0] - 1) / 2
        return weights


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.to(like.dtype).unsqueeze(-1)
