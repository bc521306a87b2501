"""The network that predicts ``x_0`` or the noise from ``x_t``, the step and the guidance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from recbole_cfgdiff.diffusion.encoders import GuidanceEncoder
from recbole_cfgdiff.diffusion.fast.kernels import Tanh, dropped
from recbole_cfgdiff.diffusion.fast.sparse import ItemProjection, SparseRows, normalised

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": Tanh,
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


def _scaled(x: torch.Tensor, scale: float) -> torch.Tensor:
    return x if scale == 1 else x * scale


def _xavier(layer: nn.Linear) -> None:
    nn.init.xavier_normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Denoiser(nn.Module):
    """``act(c_in W_x drop(x_t) + enc(g) + W_t emb(t) + b)``, further hidden layers, ``c_out`` times a linear layer.

    DiffRec's and the paper's first layer is linear on the concatenation of its inputs; here it is the sum of one
    linear layer an input, which is the same function, and each can be computed the cheapest way.

    Args:
        n_items: number of items ``n``.
        dims_dnn: widths of the hidden layers, at least one; ``h`` is the first, ``k`` the last.
        embedding_size: width of the step's embedding; 0 leaves the step out.
        mlp_act_func: activation of the hidden layers, one of ``ACTIVATIONS``.
        norm: L2-normalise ``x_t`` first.
        dropout_prob: dropout on ``x_t``.
        guidance_encoder: maps guidance to ``(B, h)``; None for a denoiser without guidance.
        output_scale: ``c_out`` of Karras et al. 2022, Eq. 7, but constant; saved with the weights.
        input_scale: their ``c_in``, likewise.

    Raises:
        ValueError: on no hidden layer or an unknown activation.
    """

    # Whether only the first and the last layer see the items, and the guidance adds to the first: what the process in
    # the hidden units needs. A denoiser that is not so sets it to False.
    allows_hidden_process = True

    def __init__(
        self,
        n_items: int,
        dims_dnn: Sequence[int],
        embedding_size: int = 10,
        mlp_act_func: str = "tanh",
        norm: bool = False,
        dropout_prob: float = 0.5,
        guidance_encoder: GuidanceEncoder | None = None,
        output_scale: float = 1.0,
        input_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not dims_dnn:
            raise ValueError("dims_dnn: expected at least one hidden layer, got none")
        if mlp_act_func not in ACTIVATIONS:
            raise ValueError(f"mlp_act_func: expected one of {', '.join(ACTIVATIONS)}, got {mlp_act_func!r}")
        self.norm = norm
        self.embedding_size = embedding_size
        self.dropout_prob = dropout_prob
        self.output_scale = output_scale
        self.input_scale = input_scale
        self.activation = ACTIVATIONS[mlp_act_func]()
        self.input_layer = ItemProjection(n_items, dims_dnn[0])
        self.input_bias = nn.Parameter(torch.zeros(dims_dnn[0]))
        if embedding_size:
            self.time_layer = nn.Linear(embedding_size, embedding_size)
            self.time_projection = nn.Linear(embedding_size, dims_dnn[0], bias=False)
        self.guidance_encoder = guidance_encoder
        self.hidden_layers = nn.ModuleList(nn.Linear(size_in, size_out) for size_in, size_out in pairwise(dims_dnn))
        self.output_layer = nn.Linear(dims_dnn[-1], n_items)
        self._initialise()

    def _initialise(self) -> None:
        """Xavier-normal weights, each block of the first layer with the deviation of the whole concatenation; the
        encoder draws its own."""
        if self.embedding_size:
            _xavier(self.time_layer)
            _xavier(self.time_projection)
        if self.guidance_encoder is not None:
            self.guidance_encoder.reset_parameters()
        for layer in (*self.hidden_layers, self.output_layer):
            _xavier(layer)
        n_items, output_size = self.input_layer.weight.shape
        n_columns = 0 if self.guidance_encoder is None else self.guidance_encoder.n_columns
        std = math.sqrt(2 / (n_items + self.embedding_size + n_columns + output_size))
        nn.init.normal_(self.input_layer.weight, std=std)
        if self.embedding_size:
            nn.init.normal_(self.time_projection.weight, std=std)
        if self.guidance_encoder is not None:
            self.guidance_encoder.reset_projection(std)

    def get_extra_state(self) -> torch.Tensor:
        """``input_scale`` and ``output_scale``, for ``state_dict``: the weights mean nothing without them."""
        return torch.tensor([self.input_scale, self.output_scale], dtype=torch.float64)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Take over the scales, for ``load_state_dict``."""
        self.input_scale, self.output_scale = state.tolist()

    def encode(self, guidance: torch.Tensor | SparseRows | None) -> torch.Tensor | None:
        """The guidance's part of the first layer, shape ``(B, h)``; None for null guidance or no encoder."""
        if guidance is None or self.guidance_encoder is None:
            return None
        return self.guidance_encoder(guidance)

    def project(self, x_t: torch.Tensor | SparseRows) -> torch.Tensor:
        """The part of ``x_t``, of shape ``(B, n)``, in the first layer, shape ``(B, h)``."""
        if self.norm:
            x_t = normalised(x_t)
        if self.training and self.dropout_prob > 0:
            x_t = dropped(x_t, self.dropout_prob)
        return _scaled(self.input_layer(x_t), self.input_scale)

    def step_bias(self, t: torch.Tensor) -> torch.Tensor:
        """``W_t emb(t) + b`` of steps of shape ``(B,)``, shape ``(B, h)``."""
        if not self.embedding_size:
            return self.input_bias.expand(len(t), -1)
        embedding = timestep_embedding(t, self.embedding_size).to(self.input_bias.dtype)
        return self.time_projection(self.time_layer(embedding)) + self.input_bias

    def activations(self, first: torch.Tensor) -> torch.Tensor:
        """The last hidden layer, shape ``(B, k)``, from the first one before its activation, shape ``(B, h)``."""
        hidden = self.activation(first)
        for layer in self.hidden_layers:
            hidden = self.activation(layer(hidden))
        return hidden

    def features(
        self, x_t: torch.Tensor | SparseRows, t: torch.Tensor, guidance_code: torch.Tensor | None = None
    ) -> torch.Tensor:
        """All but the output layer: shapes as in ``forward``, result of shape ``(B, k)``."""
        first = self.project(x_t) + self.step_bias(t)
        return self.activations(first if guidance_code is None else first + guidance_code)

    def input_weights(self) -> torch.Tensor:
        """``c_in W_x``, of shape ``(n, h)``."""
        return _scaled(self.input_layer.weight, self.input_scale)

    def output_weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``c_out W_o``, of shape ``(n, k)``, and ``c_out b_o``, ``(n,)``."""
        layer = self.output_layer
        return _scaled(layer.weight, self.output_scale), _scaled(layer.bias, self.output_scale)

    def forward(
        self, x_t: torch.Tensor | SparseRows, t: torch.Tensor, guidance_code: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Predict.

        Args:
            x_t: shape ``(B, n)``.
            t: steps, shape ``(B,)``, or ``(1,)`` where all users are at the same one.
            guidance_code: of ``encode``, shape ``(B, h)``; None is the null guidance for all users.

        Returns:
            shape ``(B, n)``.
        """
        return F.linear(self.features(x_t, t, guidance_code), *self.output_weights())
