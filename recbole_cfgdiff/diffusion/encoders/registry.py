"""What a guidance encoder is, and which there are by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from recbole_cfgdiff.diffusion.fast.sparse import ItemProjection, SparseRows


class GuidanceEncoder(nn.Module):
    """Maps guidance to its part of the denoiser's first layer, before the activation.

    Made as ``Encoder(n_items, embedding_size, output_size)``: columns of the guidance, the option
    ``guidance_embedding_size``, and width ``h`` of the denoiser's first hidden layer. It initialises its own weights;
    the denoiser leaves them as they are. An empty row is the null guidance, which has to be mapped to exactly 0:
    ``tests/contract.py`` tests it.
    """

    # Whether the order of a row counts, which a plain tensor does not tell.
    reads_order = False
    # How many columns of the denoiser's first layer it stands for: others are initialised with as many beside them.
    n_columns = 0

    def forward(self, guidance: SparseRows) -> torch.Tensor:
        """The code of each row.

        Args:
            guidance: shape ``(B, n_items)``; the entries of a row are in its order, the earliest first, and those of
                value 0 are padding.

        Returns:
            shape ``(B, output_size)``.
        """
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw the weights anew, where the denoiser draws its own; nothing to do for weights drawn when made."""

    def reset_projection(self, std: float) -> None:
        """Draw the ``n_columns`` of the first layer, with the deviation that the whole layer has."""


class ProjectedGuidance(GuidanceEncoder):
    """An encoder that ends in ``projection``, a linear layer that is a block of the denoiser's first layer.

    Its weights are Xavier-normal, its biases 0, and the projection has the deviation of the whole first layer. They are
    drawn where the denoiser draws its own, and the projection twice: in this order a seed gives the weights that it
    gave before encoders initialised themselves.
    """

    projection: nn.Linear | ItemProjection

    @property
    def n_columns(self) -> int:  # type: ignore[override]
        """Columns of the projection."""
        weight = self.projection.weight
        return weight.shape[0] if isinstance(self.projection, ItemProjection) else weight.shape[1]

    def reset_parameters(self) -> None:
        """Of all linear layers."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def reset_projection(self, std: float) -> None:
        """Of the projection."""
        nn.init.normal_(self.projection.weight, std=std)


MakeEncoder = Callable[[int, int, int], GuidanceEncoder]
Registered = TypeVar("Registered", bound=MakeEncoder)

GUIDANCE_ENCODERS: dict[str, MakeEncoder] = {}


def register_guidance_encoder(name: str) -> Callable[[Registered], Registered]:
    """Let ``guidance_encoder: name`` mean the class (or function of the same arguments) that this decorates.

    Raises:
        ValueError: if another one has the name.
    """

    def register(encoder: Registered) -> Registered:
        if name in GUIDANCE_ENCODERS:
            raise ValueError(f"guidance_encoder: there is a {name!r} already, {GUIDANCE_ENCODERS[name]}")
        GUIDANCE_ENCODERS[name] = encoder
        return encoder

    return register


def make_guidance_encoder(
    guidance_encoder: str, n_items: int, embedding_size: int, output_size: int
) -> GuidanceEncoder:
    """The encoder registered as ``guidance_encoder``; sizes as of ``GuidanceEncoder``.

    Raises:
        ValueError: on a name that is not registered.
    """
    if guidance_encoder not in GUIDANCE_ENCODERS:
        raise ValueError(f"guidance_encoder: expected one of {', '.join(GUIDANCE_ENCODERS)}, got {guidance_encoder!r}")
    return GUIDANCE_ENCODERS[guidance_encoder](n_items, embedding_size, output_size)
