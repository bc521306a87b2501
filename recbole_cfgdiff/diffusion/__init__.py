"""The diffusion machinery: plain torch, no knowledge of RecBole."""

from recbole_cfgdiff.diffusion.averaging import MovingAverage
from recbole_cfgdiff.diffusion.denoiser import Denoiser
from recbole_cfgdiff.diffusion.guidance import drop_guidance, guided_prediction, make_guidance_encoder
from recbole_cfgdiff.diffusion.hidden_process import HiddenProcess
from recbole_cfgdiff.diffusion.losses import squared_errors
from recbole_cfgdiff.diffusion.process import reverse_process
from recbole_cfgdiff.diffusion.schedule import NoiseSchedule, make_betas
from recbole_cfgdiff.diffusion.sparse import SparseRows
from recbole_cfgdiff.diffusion.timesteps import TimestepSampler

__all__ = [
    "Denoiser",
    "HiddenProcess",
    "MovingAverage",
    "NoiseSchedule",
    "SparseRows",
    "TimestepSampler",
    "drop_guidance",
    "guided_prediction",
    "make_betas",
    "make_guidance_encoder",
    "reverse_process",
    "squared_errors",
]
