"""The alternatives that the paper tried beside its model (Buchanan et al., Sec. IV-B), each measured against it.

What came of it is in docs/alternatives.md. As an example this shows how a variant of CFGDiffRec is written and
registered.

    python examples/paper_alternatives.py --dataset=ml-100k --seeds=3 --output=docs/alternatives/ml-100k.csv
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from measuring import Variants, measure_all
from torch import nn

from recbole_cfgdiff.diffusion import Denoiser, Restoration, SparseRows
from recbole_cfgdiff.diffusion.encoders import ProjectedGuidance, register_guidance_encoder
from recbole_cfgdiff.model import CFGDiffRec
from recbole_cfgdiff.scoring.histories import Histories

ATTENTION_SIZE = 64  # width of both attentions; the paper gives none
LONGEST = 200  # the latest items that attention sees
LIKED = 4  # the least rating that is an interaction in the paper's "clean" setting (Sec. IV-A)


class Tokens(NamedTuple):
    """Items as tokens: embeddings of shape ``(B, L, d)``, and which places are empty, bool, shape ``(B, L)``."""

    embeddings: torch.Tensor
    is_empty: torch.Tensor


class ItemTokens(nn.Module):
    """The latest items of a history as tokens, with embeddings of the items and of the places, the latest first."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, ATTENTION_SIZE)
        self.places = nn.Embedding(LONGEST, ATTENTION_SIZE)

    def forward(self, history: SparseRows) -> Tokens:
        place = history.counts()[history.row] - 1 - history.places()
        shown = (history.values != 0) & (place >= 0) & (place < LONGEST)
        row, place, items = history.row[shown], place[shown], history.items[shown]
        shape = (len(history), int(place.max()) + 1 if len(place) else 1)
        embeddings = self.items.weight.new_zeros((*shape, ATTENTION_SIZE))
        embeddings = embeddings.index_put((row, place), self.items(items) + self.places(place))
        is_empty = torch.ones(shape, dtype=torch.bool, device=row.device)
        is_empty[row, place] = False
        return Tokens(embeddings, is_empty)


@register_guidance_encoder("self-attention")
class SelfAttentionGuidance(ProjectedGuidance):
    """Self-attention over the history, then the mean of its tokens; no token, no guidance."""

    def __init__(self, n_items: int, embedding_size: int, output_size: int) -> None:
        super().__init__()
        self.tokens = ItemTokens(n_items)
        self.layer = nn.TransformerEncoderLayer(ATTENTION_SIZE, 2, 2 * ATTENTION_SIZE, dropout=0.1, batch_first=True)
        self.projection = nn.Linear(ATTENTION_SIZE, output_size, bias=False)

    def forward(self, history: SparseRows) -> torch.Tensor:
        """Shape ``(B, n)`` to ``(B, output_size)``."""
        embeddings, is_empty = self.tokens(history)
        nothing = is_empty.all(dim=1, keepdim=True)
        attended = self.layer(embeddings, src_key_padding_mask=is_empty & ~nothing)
        is_token = (~is_empty).unsqueeze(-1)
        return self.projection((attended * is_token).sum(dim=1) / is_token.sum(dim=1).clamp(min=1))


class CrossAttentionDenoiser(Denoiser):
    """The first layer asks the guidance: its sum is the query, the items of the guidance are keys and values."""

    allows_hidden_process = False  # the answer depends on x_t, item by item

    def __init__(self, n_items: int, dims_dnn: list[int], **options: Any) -> None:
        super().__init__(n_items, dims_dnn, **options)
        self.tokens = ItemTokens(n_items)
        self.query = nn.Linear(dims_dnn[0], ATTENTION_SIZE, bias=False)
        # A key and value of zeros beside the items', and no biases: null guidance adds exactly nothing.
        self.attention = nn.MultiheadAttention(ATTENTION_SIZE, 2, bias=False, add_zero_attn=True, batch_first=True)
        self.answer = nn.Linear(ATTENTION_SIZE, dims_dnn[0], bias=False)

    def encode(self, guidance: torch.Tensor | SparseRows | None) -> Any:
        """``SparseRows`` as ``Tokens``; the null guidance stays None."""
        return None if guidance is None else self.tokens(guidance)

    def features(self, x_t: Any, t: torch.Tensor, guidance_code: Any = None) -> torch.Tensor:
        """As of any denoiser, ``guidance_code`` being of ``encode``."""
        first = self.project(x_t) + self.step_bias(t)
        if guidance_code is not None:
            keys, is_empty = guidance_code
            query = self.query(self.activation(first)).unsqueeze(1)
            attended, _ = self.attention(query, keys, keys, key_padding_mask=is_empty, need_weights=False)
            first = first + self.answer(attended.squeeze(1))
        return self.activations(first)


class CrossAttentionCFGDiffRec(CFGDiffRec):
    """CFGDiffRec whose input attends to the guidance."""

    @staticmethod
    def make_denoiser(given: Any, n_items: int, *_: Any) -> Denoiser:
        """The one above."""
        embedding_size = given.embedding_size if given.time_embedding else 0
        return CrossAttentionDenoiser(
            n_items, given.dims_dnn, embedding_size=embedding_size, dropout_prob=given.dropout_prob
        )


class SignedRestoration(Restoration):
    """The liked items are restored, guided by all."""

    def training_example(self, history: SparseRows) -> tuple[SparseRows, SparseRows]:
        """Shapes as of ``Restoration``."""
        return liked(history), self.guidance(history)

    def inference_start(self, history: SparseRows) -> tuple[SparseRows | torch.Tensor, SparseRows]:
        """Shapes as of ``Restoration``."""
        x_T, _ = super().inference_start(liked(history))
        return x_T, self.guidance(history)

    def guidance(self, signed: SparseRows) -> SparseRows:
        """Of a history with dislikes, shape ``(B, guidance_columns)``."""
        return signed


class TwoChannelRestoration(SignedRestoration):
    """The same with the dislikes beside the liked items, with weights of their own."""

    @property
    def guidance_columns(self) -> int:
        """Of both."""
        return 2 * self.n_items

    def guidance(self, signed: SparseRows) -> SparseRows:
        """Side by side."""
        return SparseRows.beside([liked(signed), replace(signed, values=(-signed.values).clamp(min=0))])


class HiddenDislikesRestoration(SignedRestoration):
    """The dislikes guide nothing."""

    def guidance(self, signed: SparseRows) -> SparseRows:
        """The liked items."""
        return liked(signed)


class SignedCFGDiffRec(CFGDiffRec):
    """CFGDiffRec whose guidance also has what the user disliked before the last training row, as -1."""

    task_class = SignedRestoration

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset, with_dislikes(config, dataset))

    @classmethod
    def make_task(cls, given: Any, n_items: int, schedule: Any) -> Restoration:
        """Of the class's own kind."""
        return cls.task_class(n_items, schedule, given.sampling_steps)


class TwoChannelCFGDiffRec(SignedCFGDiffRec):
    """The same with the dislikes as a channel of their own."""

    task_class = TwoChannelRestoration


class HiddenDislikesCFGDiffRec(SignedCFGDiffRec):
    """The control: the dislikes guide nothing, they are only not recommended."""

    task_class = HiddenDislikesRestoration

    @torch.no_grad()
    def guidance_sweep(self, history: Any, guidance_scales: Iterable[float]) -> Iterator[torch.Tensor]:
        """Shapes as in CFGDiffRec."""
        is_disliked = history.dense() < 0
        for scores in super().guidance_sweep(history, guidance_scales):
            yield scores.masked_fill_(is_disliked, torch.finfo(scores.dtype).min)


def liked(signed: SparseRows) -> SparseRows:
    """The entries above 0; the others become padding."""
    return replace(signed, values=signed.values.clamp(min=0))


def with_dislikes(config: Any, dataset: Any) -> Histories:
    """The training histories with, as -1, the items that a user rated below ``LIKED`` before the last training row."""
    name = dataset.dataset_name
    raw = pd.read_csv(Path(config["data_path"]) / f"{name}.inter", sep="\t")
    raw.columns = [column.partition(":")[0] for column in raw.columns]
    raw = raw[raw[config["RATING_FIELD"]] < LIKED]
    users = raw[dataset.uid_field].astype(str).map(dataset.field2token_id[dataset.uid_field])
    items = raw[dataset.iid_field].astype(str).map(dataset.field2token_id[dataset.iid_field])
    known = (users.notna() & items.notna()).to_numpy()
    users, items = users[known].to_numpy(dtype=np.int64), items[known].to_numpy(dtype=np.int64)
    times = raw[dataset.time_field][known].to_numpy(dtype=np.float32)  # RecBole's precision

    trained = {field: dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field)}
    last = np.full(dataset.user_num, -np.inf, dtype=np.float32)
    np.maximum.at(last, trained[dataset.uid_field], dataset.inter_feat[dataset.time_field].numpy())
    before = times < last[users]
    all_users = np.concatenate([trained[dataset.uid_field], users[before]])
    all_items = np.concatenate([trained[dataset.iid_field], items[before]])
    values = np.concatenate([np.ones(len(trained[dataset.uid_field])), -np.ones(before.sum())])
    order = np.argsort(all_users, kind="stable")
    offsets = np.concatenate([[0], np.bincount(all_users, minlength=dataset.user_num).cumsum()])
    return Histories(
        torch.as_tensor(offsets),
        torch.as_tensor(all_items[order]),
        torch.as_tensor(values[order], dtype=torch.float32),
        dataset.item_num,
    )


RAW = {"guidance_encoder": "raw"}
VARIANTS: Variants = {
    "raw guidance": (CFGDiffRec, RAW),
    "embedded guidance": (CFGDiffRec, {"guidance_encoder": "embedding"}),
    "cross-attention": (CrossAttentionCFGDiffRec, {}),
    "self-attention": (CFGDiffRec, {"guidance_encoder": "self-attention"}),
    "dislikes as -1": (SignedCFGDiffRec, RAW),
    "dislikes as a channel": (TwoChannelCFGDiffRec, RAW),
    "dislikes not recommended": (HiddenDislikesCFGDiffRec, RAW),
    "1000 hidden units": (CFGDiffRec, {**RAW, "dims_dnn": [1000]}),
    "two hidden layers of 1000": (CFGDiffRec, {**RAW, "dims_dnn": [1000, 1000]}),
}


if __name__ == "__main__":
    measure_all(VARIANTS, __doc__.splitlines()[0])
