"""The history read in its order, as guidance."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from recbole_cfgdiff.diffusion.encoders.registry import ProjectedGuidance, register_guidance_encoder
from recbole_cfgdiff.diffusion.fast.attention import causal_attention
from recbole_cfgdiff.diffusion.fast.kernels import Dropout
from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.sequences import latest, lengths

_MAX_PERIOD = 1000


class Attention(nn.Module):
    """Causal self-attention (Vaswani et al. 2017, Sec. 3.2) whose heads know how far back an item is, by rotary
    positions (Su et al. 2021, Eq. 34).

    Args:
        hidden_size: ``d``, a multiple of ``2 n_heads``.
        n_heads: number of heads.
        dropout: of the attention's weights; above 0 torch takes a slower way.
    """

    def __init__(self, hidden_size: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape ``(B, L, d)``; a place reads itself and those before it."""
        batch, length, size = x.shape
        heads = self.query_key_value(x).view(batch, length, 3, self.n_heads, size // self.n_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        rotation = _rotation(length, query)
        mixed = causal_attention(
            _rotated(query, *rotation), _rotated(key, *rotation), value, self.dropout if self.training else 0.0
        )
        return self.output(mixed.transpose(1, 2).reshape(x.shape))


def _rotation(length: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    half = like.shape[-1] // 2
    frequency = _MAX_PERIOD ** -(torch.arange(half, device=like.device) / half)
    angles = torch.arange(length, device=like.device)[:, None] * frequency
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Block(nn.Module):
    """A mixer over the places and a network at each of them, both on normalised input and added to it (Xiong et al.
    2020, pre-norm). Arguments as of ``SequenceEncoder``."""

    def __init__(
        self, hidden_size: int, n_heads: int, inner_size: int, hidden_dropout_prob: float, attn_dropout_prob: float
    ) -> None:
        super().__init__()
        self.mixer_norm = nn.LayerNorm(hidden_size)
        self.mixer = Attention(hidden_size, n_heads, attn_dropout_prob)
        self.dropout = Dropout(hidden_dropout_prob)
        self.feed_forward = FeedForward(hidden_size, inner_size, hidden_dropout_prob)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape ``(B, L, d)``."""
        x = x + self.dropout(self.mixer(self.mixer_norm(x)))
        return x + self.feed_forward(x)


class FeedForward(nn.Module):
    """Two linear layers at each place, on normalised input."""

    def __init__(self, hidden_size: int, inner_size: int, dropout_prob: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.inner = nn.Linear(hidden_size, inner_size)
        self.outer = nn.Linear(inner_size, hidden_size)
        self.dropout = Dropout(dropout_prob)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape ``(..., d)``."""
        return self.dropout(self.outer(self.dropout(F.gelu(self.inner(self.norm(x))))))


class SequenceEncoder(nn.Module):
    """Guidance for every cut of a history in one pass: at place ``l`` stands what the items up to ``l`` tell.

    Causal pre-norm Transformer blocks, as SASRec's (Kang & McAuley 2018) but for the norm's place and the positions.
    The last item's own vector goes through to the end by the residual connections.

    Args:
        n_items: number of items ``n``, the padding item 0 included.
        hidden_size: ``d``.
        n_layers: number of blocks.
        n_heads: of a block.
        inner_size: width of a block's feed-forward layer.
        hidden_dropout_prob: dropout on the embedded items, and in the blocks.
        attn_dropout_prob: as of ``Attention``.
        initializer_range: deviation of the weights at the start.

    Raises:
        ValueError: if ``hidden_size`` is no multiple of ``2 n_heads``.
    """

    def __init__(
        self,
        n_items: int,
        hidden_size: int = 64,
        n_layers: int = 2,
        n_heads: int = 2,
        inner_size: int = 256,
        hidden_dropout_prob: float = 0.2,
        attn_dropout_prob: float = 0.0,
        initializer_range: float = 0.02,
    ) -> None:
        super().__init__()
        if hidden_size % (2 * n_heads):
            raise ValueError(f"hidden_size: expected a multiple of 2 * n_heads ({2 * n_heads}), got {hidden_size}")
        self.item_embedding = nn.Embedding(n_items, hidden_size)
        self.dropout = Dropout(hidden_dropout_prob)
        self.blocks = nn.ModuleList(
            Block(hidden_size, n_heads, inner_size, hidden_dropout_prob, attn_dropout_prob) for _ in range(n_layers)
        )
        initialise(self, initializer_range)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Shape ``(B, L)``, as of ``sequences.latest``, to ``(B, L, d)``; places of padding are without meaning."""
        x = self.dropout(self.item_embedding(items))
        for block in self.blocks:
            x = block(x)
        return x

    def last(self, items: torch.Tensor) -> torch.Tensor:
        """What guides after the whole of each sequence, shape ``(B, d)``; 0, the null guidance, of an empty one."""
        counts = lengths(items)
        rows = torch.arange(items.shape[0], device=items.device)  # len would fix the size of an exported graph
        states = self(items)[rows, (counts - 1).clamp(min=0)]
        return states * (counts > 0)[:, None].to(states.dtype)


def initialise(network: nn.Module, initializer_range: float) -> None:
    """Draw the weights of linear layers and embeddings, normal, and set biases to 0."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


@register_guidance_encoder("sequence")
class SequenceGuidance(ProjectedGuidance):
    """The latest items of the guidance in their order, through a ``SequenceEncoder``, projected; the values of the
    guidance count only in that 0 is padding. Arguments as of ``GuidanceEncoder``."""

    reads_order = True
    max_length = 200

    def __init__(self, n_items: int, embedding_size: int, output_size: int) -> None:
        super().__init__()
        width = 4 * math.ceil(embedding_size / 4)  # a multiple of twice the heads
        self.encoder = SequenceEncoder(n_items, width, inner_size=4 * width)
        self.projection = nn.Linear(width, output_size, bias=False)

    def reset_parameters(self) -> None:
        """Nothing: the encoder has drawn its own."""

    def forward(self, guidance: SparseRows) -> torch.Tensor:
        """Shapes ``(B, n_items)`` to ``(B, output_size)``."""
        return self.projection(self.encoder.last(latest(guidance, self.max_length)))
