"""Causal attention, on CPUs in 32 bits also under mixed precision: torch 2.13's in 16 bits is slower there.

16 sequences of 64 items, with the gradients, take 1.4 ms instead of 11.6 (``benchmarks/kernels.py``, one thread).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def causal_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout_prob: float) -> torch.Tensor:
    """torch's ``scaled_dot_product_attention`` where a place reads itself and those before it; all of shape
    ``(B, heads, L, d)``."""
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout_prob, is_causal=True)
    with torch.autocast("cpu", enabled=False):
        heads = (each.float() if each.dtype is torch.bfloat16 else each for each in (query, key, value))
        return F.scaled_dot_product_attention(*heads, dropout_p=dropout_prob, is_causal=True)
