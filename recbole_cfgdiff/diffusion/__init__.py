"""The diffusion machinery: plain torch, no knowledge of RecBole."""

from recbole_cfgdiff.diffusion.averaging import MovingAverage
from recbole_cfgdiff.diffusion.denoiser import Denoiser
from recbole_cfgdiff.diffusion.encoders import GuidanceEncoder, make_guidance_encoder, register_guidance_encoder
from recbole_cfgdiff.diffusion.fast.hidden_process import HiddenProcess
from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.fast.squared_errors import squared_errors
from recbole_cfgdiff.diffusion.forecast import Forecast
from recbole_cfgdiff.diffusion.guidance import branches, drop_guidance, guided_prediction
from recbole_cfgdiff.diffusion.process import reverse_process
from recbole_cfgdiff.diffusion.restoration import Restoration
from recbole_cfgdiff.diffusion.samplers import SAMPLERS, Step, register_sampler, spaced_timesteps
from recbole_cfgdiff.diffusion.schedule import NoiseSchedule, make_betas
from recbole_cfgdiff.diffusion.scorer import Scorer
from recbole_cfgdiff.diffusion.timesteps import TimestepSampler

__all__ = [
    "SAMPLERS",
    "Denoiser",
    "Forecast",
    "GuidanceEncoder",
    "HiddenProcess",
    "MovingAverage",
    "NoiseSchedule",
    "Restoration",
    "Scorer",
    "SparseRows",
    "Step",
    "TimestepSampler",
    "branches",
    "drop_guidance",
    "guided_prediction",
    "make_betas",
    "make_guidance_encoder",
    "register_guidance_encoder",
    "register_sampler",
    "reverse_process",
    "spaced_timesteps",
    "squared_errors",
]
