"""What each model's scores are made of, from its hyperparameters. The recommenders in ``model/`` hold these parts, and
an exported model is put together of them again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from recbole_cfgdiff.diffusion import (
    SAMPLERS,
    Denoiser,
    Forecast,
    HistoryScorer,
    NextItemRidge,
    NextItemsDenoiser,
    NoiseSchedule,
    Restoration,
    RidgeScorer,
    Scorer,
    SequenceEncoder,
    SequenceNetwork,
    SequenceScorer,
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
    Hyperparameters,
    NextItemRidgeHyperparameters,
    SeqCFGDiffRecHyperparameters,
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


def taken(given: DiffRecHyperparameters, histories: Histories) -> Histories:
    """Histories as DiffRec and its variants take them: each item once, weighted by recency where ``time-aware``."""
    once = histories.without_repeats()
    return once.weighted_by_recency(given.w_min, given.w_max) if given.time_aware else once


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


def make_next_items_denoiser(given: SeqCFGDiffRecHyperparameters, n_items: int) -> NextItemsDenoiser:
    """SeqCFGDiffRec's network."""
    encoder = SequenceEncoder(
        n_items,
        given.hidden_size,
        given.n_layers,
        given.n_heads,
        given.inner_size,
        given.hidden_dropout_prob,
        given.attn_dropout_prob,
        given.initializer_range,
    )
    return NextItemsDenoiser(encoder, given.steps, given.inner_size, given.hidden_dropout_prob, given.initializer_range)


def make_next_item_ridge(
    given: NextItemRidgeHyperparameters | SeqCFGDiffRecHyperparameters, n_items: int
) -> NextItemRidge:
    """The linear model, not fitted yet."""
    return NextItemRidge(n_items, given.n_neighbors, given.recency_power)


def make_prior(given: SeqCFGDiffRecHyperparameters, n_items: int) -> NextItemRidge | None:
    """SeqCFGDiffRec's linear part; None where it weighs nothing."""
    return make_next_item_ridge(given, n_items) if given.linear_weight else None


def make_sequence_network(given: SeqCFGDiffRecHyperparameters, n_items: int) -> SequenceNetwork:
    """All that SeqCFGDiffRec scores by."""
    return SequenceNetwork(make_next_items_denoiser(given, n_items), make_prior(given, n_items))


def make_sequence_scorer(given: SeqCFGDiffRecHyperparameters, n_items: int, network: SequenceNetwork) -> SequenceScorer:
    """What maps histories to scores by it."""
    return SequenceScorer(network, given.steps, given.max_item_list_length, given.linear_weight)


def make_ridge_scorer(given: NextItemRidgeHyperparameters, n_items: int, network: NextItemRidge) -> RidgeScorer:
    """What maps histories to scores by the linear model."""
    return RidgeScorer(network, given.max_item_list_length)


class Parts(NamedTuple):
    """Of a model.

    Attributes:
        hyperparameters: their class.
        taken: histories as the model takes them, by its hyperparameters.
        make_network: of hyperparameters and the number of items.
        make_scorer: of the same and the network.
    """

    hyperparameters: type[Hyperparameters]
    taken: Callable[[Any, Histories], Histories]
    make_network: Callable[[Any, int], nn.Module]
    make_scorer: Callable[[Any, int, Any], HistoryScorer]


def _parts_of_diffrec(
    hyperparameters: type[DiffRecHyperparameters],
    make_task: Callable[[Any, int, NoiseSchedule], Restoration],
    make_denoiser: Callable[[Any, int, int, float, float], Denoiser],
) -> Parts:
    """Of DiffRec or a variant: what is diffused and what guides it, and the network, whose scales come with its
    weights."""

    def task(given: Any, n_items: int) -> Restoration:
        with torch.device("cpu"):  # also where the network is made without memory
            return make_task(given, n_items, make_schedule(given))

    return Parts(
        hyperparameters,
        taken,
        lambda given, n_items: make_denoiser(given, n_items, task(given, n_items).guidance_columns, 1.0, 1.0),
        lambda given, n_items, network: make_scorer(given, task(given, n_items), network),
    )


# By the name of the model.
PARTS = {
    "DiffRec": _parts_of_diffrec(DiffRecHyperparameters, make_restoration, make_denoiser),
    "CFGDiffRec": _parts_of_diffrec(CFGDiffRecHyperparameters, make_restoration, make_guided_denoiser),
    "ForwardCFGDiffRec": _parts_of_diffrec(ForwardCFGDiffRecHyperparameters, make_forecast, make_guided_denoiser),
    "SeqCFGDiffRec": Parts(
        SeqCFGDiffRecHyperparameters,
        lambda given, histories: histories,
        make_sequence_network,
        make_sequence_scorer,
    ),
    "NextItemRidge": Parts(
        NextItemRidgeHyperparameters,
        lambda given, histories: histories,
        make_next_item_ridge,
        make_ridge_scorer,
    ),
}
