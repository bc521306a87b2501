"""CFG-DiffRec (Buchanan, Gauch & Mai, "Incorporating Classifier-Free Guidance in Diffusion Model-Based
Recommendation"): DiffRec whose denoiser also sees the history before any noise, as guidance."""

from __future__ import annotations

from typing import Any

import torch

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.data.histories import Histories
from recbole_cfgdiff.diffusion import Denoiser, SparseRows
from recbole_cfgdiff.model.diffrec import DiffRec
from recbole_cfgdiff.model.hyperparameters import CFGDiffRecHyperparameters


class CFGDiffRec(DiffRec):
    """DiffRec with classifier-free guidance.

    In training the guidance is replaced by the null guidance for a share ``p_uncond`` of the users; scoring combines
    the guided and the unguided prediction by ``guidance_scale``, an attribute that can be set on a trained model. A
    user without a history gets the unguided scores. Arguments and errors as of ``DiffRec``.
    """

    hyperparameters_class: type[CFGDiffRecHyperparameters] = CFGDiffRecHyperparameters
    hyperparameters: CFGDiffRecHyperparameters
    is_guided = True

    def __init__(self, config: Any, dataset: Any, histories: Histories | None = None) -> None:
        super().__init__(config, dataset, histories)
        given = self.hyperparameters
        self.p_uncond = given.p_uncond
        self.guidance_scale = given.guidance_scale
        self.guidance_scales = given.guidance_scales

    @staticmethod
    def make_denoiser(
        given: Any, n_items: int, guidance_columns: int, input_scale: float, output_scale: float
    ) -> Denoiser:
        """As of ``DiffRec``, with a guidance encoder."""
        return Denoiser(
            n_items,
            given.dims_dnn,
            given.embedding_size if given.time_embedding else 0,
            given.mlp_act_func,
            given.norm,
            given.dropout_prob,
            diffusion.make_guidance_encoder(
                given.guidance_encoder, guidance_columns, given.guidance_embedding_size, given.dims_dnn[0]
            ),
            output_scale,
            input_scale,
        )

    def losses(
        self, x_start: SparseRows, guidance: SparseRows | None, t: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """DiffRec's losses, the guidance of each user dropped with probability ``p_uncond``."""
        if guidance is not None:
            guidance = diffusion.drop_guidance(guidance, self.p_uncond)
        return super().losses(x_start, guidance, t, noise)
