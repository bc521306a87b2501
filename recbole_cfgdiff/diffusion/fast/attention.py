"""Causal attention, on CPUs in 32 bits also under mixed precision: torch 2.13's in 16 bits is slower there.

16 sequences of 64 items, with the gradients, take 1.2 ms instead of 5.0 (``benchmarks/kernels.py``, one thread).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def causal_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout_prob: float) -> torch.Tensor:
    """torch's ``scaled_dot_product_attention`` where a place reads itself and those before it; all of shape
    ``(B, heads, L, d)``."""
    if query.device.type == "cpu":
        with torch.autocast("cpu", enabled=False):
            return _attention(_in_32_bits(query), _in_32_bits(key), _in_32_bits(value), dropout_prob)
    return _attention(query, key, value, dropout_prob)


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout_prob: float) -> torch.Tensor:
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout_prob, is_causal=True)


def _in_32_bits(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype is torch.bfloat16 else x
