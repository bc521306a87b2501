"""CFG-DiffRec (Buchanan, Gauch & Mai, "Incorporating Classifier-Free Guidance in Diffusion Model-Based
Recommendation"): DiffRec whose denoiser also sees the history before any noise, as guidance."""

from __future__ import annotations

from typing import Any

import torch

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.model.diffrec import DiffRec
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import CFGDiffRecHyperparameters
from recbole_cfgdiff.scoring.parts import make_guided_denoiser


class CFGDiffRec(DiffRec):
    """DiffRec with classifier-free guidance.

    In training the guidance is replaced by the null guidance for a share ``p_uncond`` of the users; scoring combines
    the guided and the unguided prediction by ``guidance_scale``, an attribute that can be set on a trained model. A
    user without a history gets the unguided scores. Arguments and errors as of ``DiffRec``.
    """

    hyperparameters_class: type[CFGDiffRecHyperparameters] = CFGDiffRecHyperparameters
    hyperparameters: CFGDiffRecHyperparameters
    is_guided = True
    make_denoiser = staticmethod(make_guided_denoiser)

    def __init__(self, config: Any, dataset: Any, histories: Histories | None = None) -> None:
        super().__init__(config, dataset, histories)
        given = self.hyperparameters
        self.p_uncond = given.p_uncond
        self.guidance_scale = given.guidance_scale
        self.guidance_scales = given.guidance_scales

    def losses(
        self, x_start: SparseRows, guidance: SparseRows | None, t: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """DiffRec's losses, the guidance of each user dropped with probability ``p_uncond``."""
        if guidance is not None:
            guidance = diffusion.drop_guidance(guidance, self.p_uncond)
        return super().losses(x_start, guidance, t, noise)
