"""The network that predicts ``x_0`` or the noise from ``x_t``, the step and the guidance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "none": nn.Identity,
}

_MAX_PERIOD = 10000


def timestep_embedding(t: torch.Tensor, size: int) -> torch.Tensor:
    """Cosines and sines of the step at geometrically spaced frequencies (Vaswani et al. 2017, Sec. 3.5).

    Args:
        t: steps, shape ``(B,)``.
        size: even or odd; an odd size ends in a zero.

    Returns:
        float32, shape ``(B, size)``.
    """
    half = size // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / max(half, 1)
    angles = t[:, None].float() * torch.exp(-math.log(_MAX_PERIOD) * exponent)
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, size % 2))


class Denoiser(nn.Module):
    """``act(W_x drop(x_t) + W_t emb(t) + enc(g) + b)``, further hidden layers, one linear output layer.

    DiffRec's and the paper's first layer is linear on the concatenation of its inputs; here it is the sum of one
    linear layer an input, which is the same function.

    Args:
        n_items: number of items ``n``.
        dims_dnn: widths of the hidden layers, at least one.
        embedding_size: width of the step's embedding; 0 leaves the step out.
        mlp_act_func: activation of the hidden layers, one of ``ACTIVATIONS``.
        norm: L2-normalise ``x_t`` first.
        dropout_prob: dropout on ``x_t``.
        guidance_encoder: maps guidance of shape ``(B, n)`` to ``(B, dims_dnn[0])`` without a bias; None for a
            denoiser without guidance.

    Raises:
        ValueError: on no hidden layer or an unknown activation.
    """

    def __init__(
        self,
        n_items: int,
        dims_dnn: Sequence[int],
        embedding_size: int = 10,
        mlp_act_func: str = "tanh",
        norm: bool = False,
        dropout_prob: float = 0.5,
        guidance_encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not dims_dnn:
            raise ValueError("dims_dnn: expected at least one hidden layer, got none")
        if mlp_act_func not in ACTIVATIONS:
            raise ValueError(f"mlp_act_func: expected one of {', '.join(ACTIVATIONS)}, got {mlp_act_func!r}")
        self.norm = norm
        self.embedding_size = embedding_size
        self.dropout = nn.Dropout(dropout_prob)
        self.activation = ACTIVATIONS[mlp_act_func]()
        self.input_layer = nn.Linear(n_items, dims_dnn[0])
        if embedding_size:
            self.time_layer = nn.Linear(embedding_size, embedding_size)
            self.time_projection = nn.Linear(embedding_size, dims_dnn[0], bias=False)
        self.guidance_encoder = guidance_encoder
        self.hidden_layers = nn.ModuleList(
            nn.Linear(size_in, size_out) for size_in, size_out in zip(dims_dnn[:-1], dims_dnn[1:])
        )
        self.output_layer = nn.Linear(dims_dnn[-1], n_items)
        self._initialise()

    def _initialise(self) -> None:
        """Xavier-normal weights, each block of the first layer with the deviation of the whole concatenation."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        blocks: list[Any] = [self.input_layer]
        if self.embedding_size:
            blocks.append(self.time_projection)
        if self.guidance_encoder is not None:
            blocks.append(self.guidance_encoder.projection)
        fan_in = sum(block.in_features for block in blocks)
        deviation = math.sqrt(2 / (fan_in + self.input_layer.out_features))
        for block in blocks:
            nn.init.normal_(block.weight, std=deviation)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, guidance: torch.Tensor | None = None) -> torch.Tensor:
        """Predict.

        Args:
            x_t: shape ``(B, n)``.
            t: steps, shape ``(B,)``, or ``(1,)`` where all users are at the same one.
            guidance: shape ``(B, n)``, rows of zeros for the null guidance; None is null for all users.

        Returns:
            shape ``(B, n)``.
        """
        if self.norm:
            x_t = F.normalize(x_t, dim=-1)
        hidden = self.input_layer(self.dropout(x_t))
        if self.embedding_size:
            embedding = timestep_embedding(t, self.embedding_size).to(x_t.dtype)
            hidden = hidden + self.time_projection(self.time_layer(embedding))
        if guidance is not None and self.guidance_encoder is not None:
            hidden = hidden + self.guidance_encoder(guidance)
        hidden = self.activation(hidden)
        for layer in self.hidden_layers:
            hidden = self.activation(layer(hidden))
        return self.output_layer(hidden)
