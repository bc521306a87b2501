"""What each model's scores are made of, from its hyperparameters. The recommenders in ``model/`` hold these parts, and
an exported model is put together of them again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from recbole_cfgdiff.diffusion import (
    SAMPLERS,
    Denoiser,
    Forecast,
    NoiseSchedule,
    Restoration,
    Scorer,
    make_betas,
    make_guidance_encoder,
    spaced_timesteps,
)
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import (
    CFGDiffRecHyperparameters,
    DiffRecHyperparameters,
    ForwardCFGDiffRecHyperparameters,
)


def make_schedule(given: DiffRecHyperparameters) -> NoiseSchedule:
    """The noise schedule.

    Raises:
        ConfigError: on a beta out of range, or of 1 where the noise is predicted.
    """
    try:
        betas = make_betas(
            given.noise_schedule, given.steps, given.noise_scale, given.noise_min, given.noise_max, given.beta_fixed
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    schedule = NoiseSchedule(betas)
    if given.mean_type == "eps" and not math.isfinite(float(1 / schedule.alphas_cumprod[-1])):
        raise ConfigError("betas out of range: with mean_type eps every beta must be below 1, or x_0 is lost")
    return schedule


def weighted(given: DiffRecHyperparameters, histories: Histories) -> Histories:
    """The histories as the model takes them: weighted by recency where ``time-aware``."""
    return histories.weighted_by_recency(given.w_min, given.w_max) if given.time_aware else histories


def make_restoration(given: Any, n_items: int, schedule: NoiseSchedule) -> Restoration:
    """DiffRec's and CFGDiffRec's: the history is diffused, and guides."""
    return Restoration(n_items, schedule, given.sampling_steps)


def make_forecast(given: Any, n_items: int, schedule: NoiseSchedule) -> Forecast:
    """ForwardCFGDiffRec's: the future is diffused, guided by the past."""
    return Forecast(n_items, schedule, given.cut_min, given.cut_max, given.p_shuffle, given.recency_powers)


def make_denoiser(given: Any, n_items: int, guidance_columns: int, input_scale: float, output_scale: float) -> Denoiser:
    """DiffRec's network. Arguments as of ``Denoiser``; ``guidance_columns`` are the columns of the guidance."""
    return Denoiser(
        n_items,
        given.dims_dnn,
        given.embedding_size,
        given.mlp_act_func,
        given.norm,
        given.dropout_prob,
        output_scale=output_scale,
        input_scale=input_scale,
    )


def make_guided_denoiser(
    given: Any, n_items: int, guidance_columns: int, input_scale: float, output_scale: float
) -> Denoiser:
    """The network of both others, which has a guidance encoder."""
    return Denoiser(
        n_items,
        given.dims_dnn,
        given.embedding_size if given.time_embedding else 0,
        given.mlp_act_func,
        given.norm,
        given.dropout_prob,
        make_guidance_encoder(
            given.guidance_encoder, guidance_columns, given.guidance_embedding_size, given.dims_dnn[0]
        ),
        output_scale,
        input_scale,
    )


def make_scorer(given: DiffRecHyperparameters, task: Restoration, denoiser: Denoiser) -> Scorer:
    """What maps histories to scores."""
    timesteps = spaced_timesteps(given.steps, given.sampling_timesteps)
    steps = SAMPLERS[given.sampler](task.schedule, given.mean_type, timesteps)
    return Scorer(task, denoiser, steps, given.sampling_noise)


class Parts(NamedTuple):
    """Of a model.

    Attributes:
        hyperparameters: their class.
        make_task: what is diffused and what guides it, of hyperparameters, number of items and schedule.
        make_denoiser: the network; arguments as of ``make_denoiser``.
    """

    hyperparameters: type[DiffRecHyperparameters]
    make_task: Callable[[Any, int, NoiseSchedule], Restoration]
    make_denoiser: Callable[[Any, int, int, float, float], Denoiser]


# By the name of the model.
PARTS = {
    "DiffRec": Parts(DiffRecHyperparameters, make_restoration, make_denoiser),
    "CFGDiffRec": Parts(CFGDiffRecHyperparameters, make_restoration, make_guided_denoiser),
    "ForwardCFGDiffRec": Parts(ForwardCFGDiffRecHyperparameters, make_forecast, make_guided_denoiser),
}
