"""The exponential moving average of a network's weights over the steps of its training."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class MovingAverage(nn.Module, Generic[Network]):
    """A copy of a network that follows the original's weights, as Ho et al. 2020 (App. B) sample from one.

    The ``n``-th update (``n = 0, 1, ...``) is ``average = d average + (1 - d) weights`` with
    ``d = min(decay, (1 + n) / (10 + n))``: the random weights at the start are soon forgotten (the rule of TensorFlow's
    ``ExponentialMovingAverage``). Nothing is read from the device.

    Args:
        network: is copied; never trained through this module.
        decay: in [0, 1]; 0 keeps the latest weights.
    """

    n_updates: torch.Tensor

    def __init__(self, network: Network, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.register_buffer("n_updates", torch.zeros((), dtype=torch.int64, device=next(network.parameters()).device))

    @torch.no_grad()
    def update(self, network: Network) -> None:
        """Let the present weights of the original enter the average."""
        share = (9 / (10 + self.n_updates)).clamp(min=1 - self.decay)  # 1 - (1 + n) / (10 + n) is 9 / (10 + n)
        for average, weight in zip(self.network.parameters(), network.parameters()):
            average.lerp_(weight, share.to(weight.dtype))
        self.n_updates += 1
