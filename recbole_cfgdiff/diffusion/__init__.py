"""The diffusion machinery: plain torch, no knowledge of RecBole."""

from recbole_cfgdiff.diffusion.averaging import MovingAverage
from recbole_cfgdiff.diffusion.denoiser import Denoiser
from recbole_cfgdiff.diffusion.encoders import (
    GuidanceEncoder,
    SequenceEncoder,
    make_guidance_encoder,
    register_guidance_encoder,
)
from recbole_cfgdiff.diffusion.fast.hidden_process import HiddenProcess
from recbole_cfgdiff.diffusion.fast.softmax_loss import sampled_softmax_loss, softmax_loss
from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.fast.squared_errors import squared_errors
from recbole_cfgdiff.diffusion.forecast import Forecast
from recbole_cfgdiff.diffusion.guidance import branches, drop_guidance, guided_prediction
from recbole_cfgdiff.diffusion.next_item_ridge import NextItemRidge
from recbole_cfgdiff.diffusion.next_items import NextItemsDenoiser, distance_weights, q_sample, training_cuts
from recbole_cfgdiff.diffusion.process import reverse_process
from recbole_cfgdiff.diffusion.restoration import Restoration
from recbole_cfgdiff.diffusion.ridge_scorer import RidgeScorer
from recbole_cfgdiff.diffusion.samplers import SAMPLERS, Step, register_sampler, spaced_timesteps
from recbole_cfgdiff.diffusion.schedule import NoiseSchedule, make_betas
from recbole_cfgdiff.diffusion.scorer import HistoryScorer, Scorer
from recbole_cfgdiff.diffusion.sequence_scorer import SequenceNetwork, SequenceScorer
from recbole_cfgdiff.diffusion.sequences import latest, windows
from recbole_cfgdiff.diffusion.timesteps import TimestepSampler

__all__ = [
    "SAMPLERS",
    "Denoiser",
    "Forecast",
    "GuidanceEncoder",
    "HiddenProcess",
    "HistoryScorer",
    "MovingAverage",
    "NextItemRidge",
    "NextItemsDenoiser",
    "NoiseSchedule",
    "Restoration",
    "RidgeScorer",
    "Scorer",
    "SequenceEncoder",
    "SequenceNetwork",
    "SequenceScorer",
    "SparseRows",
    "Step",
    "TimestepSampler",
    "branches",
    "distance_weights",
    "drop_guidance",
    "guided_prediction",
    "latest",
    "make_betas",
    "make_guidance_encoder",
    "q_sample",
    "register_guidance_encoder",
    "register_sampler",
    "reverse_process",
    "sampled_softmax_loss",
    "softmax_loss",
    "spaced_timesteps",
    "squared_errors",
    "training_cuts",
    "windows",
]
