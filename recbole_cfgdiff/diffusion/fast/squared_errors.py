"""The squared error of the network's prediction, without more passes over users x items than it needs.

Gain of the expanded square (``benchmarks/training.py``, 35,000 items, 300 hidden units): an epoch
takes 5.24 s for 6.67.
"""

from __future__ import annotations

import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows

# What an entry of a sparse target costs per column, forward and backward, in multiplications of a dense product
# (measured by benchmarks/training.py's rows with and without the expanded square, and for n from 1,400 to 35,000).
_ENTRY_COST = 75


def squared_errors(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, target: torch.Tensor | SparseRows
) -> torch.Tensor:
    """``|W a + b - target|^2`` of each user, computed the cheaper way.

    Args:
        features: the last hidden layer ``a``, shape ``(B, k)``.
        weight: ``W``, shape ``(n, k)``.
        bias: ``b``, shape ``(n,)``.
        target: shape ``(B, n)``, without gradient.

    Returns:
        shape ``(B,)``, differentiable.
    """
    batch_size, width = features.shape
    if isinstance(target, SparseRows) and _expanding_pays(batch_size, width, target.n_items, len(target.items)):
        return expanded_squared_errors(features, weight, bias, target)
    return direct_squared_errors(features, weight, bias, target)


def _expanding_pays(batch_size: int, width: int, n_items: int, n_entries: int) -> bool:
    """Compare the multiplications: of the prediction and of its two gradients, or of ``W'W``, its gradient and the
    products with the target."""
    direct = 3 * batch_size * width * n_items
    return 2 * width * width * n_items + _ENTRY_COST * n_entries * width < direct


def direct_squared_errors(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, target: torch.Tensor | SparseRows
) -> torch.Tensor:
    """``squared_errors`` through the prediction, which is kept as ``(n, B)``.

    So the rows in memory have a length that is a round number, where ``n`` may be any: matrix products are up to 1.5
    times slower for an ``n`` that is not a multiple of 16.
    """
    prediction = torch.addmm(bias[:, None], weight, features.T)
    error = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
    if isinstance(target, SparseRows):
        error.index_put_((target.items, target.row), -target.values.to(error.dtype), accumulate=True)
    else:
        error = error - target.T
    return (error * error).sum(dim=0)


def expanded_squared_errors(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, target: SparseRows
) -> torch.Tensor:
    """``squared_errors`` without the prediction, exact in real arithmetic::

        |W a + b|^2 - 2 (W a + b)'x + |x|^2,  |W a + b|^2 = a'(W'W)a + 2 a'W'b + b'b

    where ``W'W`` is of shape ``(k, k)`` and the products with ``x`` are sums over its entries.
    """
    with torch.autocast(features.device.type, enabled=False):  # the terms nearly cancel
        features = features.to(weight.dtype)
        # The gradient of W'W by both factors is twice that by one, since it is symmetric: one product less.
        half_gram = weight.T @ weight.detach()
        gram = 2 * half_gram - half_gram.detach()
        square = (features @ gram + 2 * (bias @ weight)) * features
        cross = (target.times(weight) * features).sum(dim=1) + target.dot(bias)
        return square.sum(dim=1) + bias @ bias - 2 * cross + target.squared_norm().to(cross.dtype)
