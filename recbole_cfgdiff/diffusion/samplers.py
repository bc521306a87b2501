"""Samplers: the steps of the reverse process, as numbers.

Every step that predicts by a network is affine in what it has: ``x_prev = of_x_t x_t + of_prediction prediction``, plus
noise. A sampler is a function that gives these numbers for chosen timesteps of a schedule, and knows nothing of the
network or of the space it runs in. ``register_sampler`` adds one.

Notation: DDPM is Ho et al. (2020), DDIM Song et al. (2021); ``abar`` is ``alphas_cumprod``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch

from recbole_cfgdiff.diffusion.schedule import NoiseSchedule


class Step(NamedTuple):
    """One step: ``x_prev = of_x_t x_t + of_prediction prediction + noise_std eps``."""

    t: int  # what the network is told
    of_x_t: float
    of_prediction: float
    noise_std: float  # where noise is sampled


# From a schedule of T steps, what the network predicts (x0 or eps), and ascending timesteps, to a step for each of
# these, the last one (of most noise) first. The step at the first timestep leads to x_0.
Sampler = Callable[[NoiseSchedule, str, Sequence[int]], list[Step]]
Registered = TypeVar("Registered", bound=Sampler)

SAMPLERS: dict[str, Sampler] = {}


def register_sampler(name: str) -> Callable[[Registered], Registered]:
    """Let ``sampler: name`` mean the function that this decorates.

    Raises:
        ValueError: if another one has the name.
    """

    def register(sampler: Registered) -> Registered:
        if name in SAMPLERS:
            raise ValueError(f"sampler: there is a {name!r} already, {SAMPLERS[name]}")
        SAMPLERS[name] = sampler
        return sampler

    return register


def spaced_timesteps(steps: int, sampling_timesteps: int | None) -> list[int]:
    """``sampling_timesteps`` of ``0, ..., T - 1``, ascending and evenly spaced back from ``T - 1``; None takes all.

    The last one is always among them, since that is where inference starts ("trailing" in Lin et al. 2024, Table 2).
    """
    n = sampling_timesteps or steps
    return [steps - 1 - place * steps // n for place in reversed(range(n))]


@register_sampler("ddpm")
def ddpm(schedule: NoiseSchedule, mean_type: str, timesteps: Sequence[int]) -> list[Step]:
    """The mean of ``q(x_prev | x_t, x_0)`` at the predicted ``x_0``, and its deviation (DDPM Eq. 6, 7).

    For fewer timesteps than the schedule has, that of the schedule of those only (Nichol & Dhariwal 2021, Sec. 4).
    """
    kept = schedule.respaced(timesteps)
    of_x_t, of_prediction = kept.step_coefficients(mean_type)
    return _steps(timesteps, of_x_t, of_prediction, kept.posterior_std)


@register_sampler("ddim")
def ddim(schedule: NoiseSchedule, mean_type: str, timesteps: Sequence[int]) -> list[Step]:
    """``x_prev = sqrt(abar_prev) x_0 + sqrt(1 - abar_prev) eps`` at the predicted ``x_0`` and noise (DDIM Eq. 12 with
    ``sigma = 0``); whichever of both is not predicted follows from ``x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps``."""
    abar = schedule.alphas_cumprod[list(timesteps)]
    abar_prev = torch.cat([abar.new_ones(1), abar[:-1]])
    if schedule.noiseless:
        of_x_t, of_prediction = torch.zeros_like(abar), torch.ones_like(abar)
    elif mean_type == "x0":
        of_x_t = ((1 - abar_prev) / (1 - abar)).sqrt()
        of_prediction = abar_prev.sqrt() - abar.sqrt() * of_x_t
    else:
        of_x_t = (abar_prev / abar).sqrt()
        of_prediction = (1 - abar_prev).sqrt() - (1 - abar).sqrt() * of_x_t
    return _steps(timesteps, of_x_t, of_prediction, torch.zeros_like(abar))


def _steps(timesteps: Sequence[int], *numbers: torch.Tensor) -> list[Step]:
    """Steps from the numbers of each timestep, each of shape ``(T',)``."""
    return [Step(*step) for step in zip(timesteps, *(each.tolist() for each in numbers))][::-1]
