"""CFG-DiffRec (Buchanan, Gauch & Mai, "Incorporating Classifier-Free Guidance in Diffusion Model-Based
Recommendation"): DiffRec whose denoiser also sees the history before any noise, as guidance."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.diffusion.guidance import GUIDANCE_ENCODERS
from recbole_cfgdiff.model.diffrec import DiffRec
from recbole_cfgdiff.model.hyperparameters import CFGDiffRecHyperparameters
from recbole_cfgdiff.model.options import read_choice, read_flag, read_integer, read_number, read_numbers


class CFGDiffRec(DiffRec):
    """DiffRec with classifier-free guidance.

    In training the guidance is replaced by the null guidance for a share ``p_uncond`` of the users; scoring combines
    the guided and the unguided prediction by ``guidance_scale``, an attribute that can be set on a trained model. A
    user without a history gets the unguided scores.

    Hyperparameters beside DiffRec's: ``p_uncond``, ``guidance_scale``, ``guidance_scales``, ``guidance_encoder``,
    ``guidance_embedding_size``, ``time_embedding``; ``properties/model/CFGDiffRec.yaml`` explains each.
    """

    hyperparameters_class = CFGDiffRecHyperparameters

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.p_uncond = read_number(config, "p_uncond", 0, 1)
        self.guidance_scale = read_number(config, "guidance_scale")
        self.guidance_scales = read_numbers(config, "guidance_scales")

    def _time_embedding_size(self, config: Any) -> int:
        return super()._time_embedding_size(config) if read_flag(config, "time_embedding") else 0

    def _guidance_size(self, config: Any) -> int:
        """Columns of the guidance that ``training_example`` and ``inference_start`` give."""
        return self.n_items

    def _make_guidance_encoder(self, config: Any, output_size: int) -> nn.Module:
        return diffusion.make_guidance_encoder(
            read_choice(config, "guidance_encoder", GUIDANCE_ENCODERS),
            self._guidance_size(config),
            read_integer(config, "guidance_embedding_size", minimum=1),
            output_size,
        )

    def training_example(self, users: torch.Tensor) -> tuple[SparseRows, SparseRows]:
        """The history, guided by itself (the paper, Sec. III-B). Shapes as in DiffRec."""
        history = self.histories.select(users)
        return history, history

    def inference_start(self, history: SparseRows) -> tuple[SparseRows | torch.Tensor, SparseRows]:
        """DiffRec's start, guided by the history. Shapes as in DiffRec."""
        x_T, _ = super().inference_start(history)
        return x_T, history

    def losses(
        self,
        x_start: SparseRows,
        guidance: SparseRows | None,
        t: torch.Tensor,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """DiffRec's losses, the guidance of each user dropped with probability ``p_uncond``."""
        if guidance is not None:
            guidance = diffusion.drop_guidance(guidance, self.p_uncond)
        return super().losses(x_start, guidance, t, noise)
