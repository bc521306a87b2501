"""Guidance encoders: what the denoiser is told about a user. ``register_guidance_encoder`` adds one."""

from recbole_cfgdiff.diffusion.encoders.raw import RawGuidance
from recbole_cfgdiff.diffusion.encoders.registry import (
    GUIDANCE_ENCODERS,
    GuidanceEncoder,
    ProjectedGuidance,
    make_guidance_encoder,
    register_guidance_encoder,
)

# isort: split
# Messages name the encoders in the order of the imports.
from recbole_cfgdiff.diffusion.encoders.embedding import EmbeddedGuidance
from recbole_cfgdiff.diffusion.encoders.sequence import SequenceEncoder, SequenceGuidance

__all__ = [
    "GUIDANCE_ENCODERS",
    "EmbeddedGuidance",
    "GuidanceEncoder",
    "ProjectedGuidance",
    "RawGuidance",
    "SequenceEncoder",
    "SequenceGuidance",
    "make_guidance_encoder",
    "register_guidance_encoder",
]
