"""Own guidance encoder: it reads the order of a history, and is chosen by ``--guidance_encoder=NAME``.

    python examples/own_encoder.py

``tests/contract.py`` tells whether an encoder is one: ``check_encoder(GatedRecurrentGuidance)``.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from recbole_cfgdiff.diffusion import GuidanceEncoder, SparseRows, register_guidance_encoder
from recbole_cfgdiff.quick_start import run


@register_guidance_encoder("gru")
class GatedRecurrentGuidance(GuidanceEncoder):
    """The last state of a GRU without biases, which stays at zero where there is no item: null guidance."""

    def __init__(self, n_items: int, embedding_size: int, output_size: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, embedding_size)
        self.gru = nn.GRU(embedding_size, output_size, bias=False, batch_first=True)

    def forward(self, guidance: SparseRows) -> torch.Tensor:
        """Shape ``(B, n_items)`` to ``(B, output_size)``."""
        shown = guidance.values != 0
        rows = replace(guidance, row=guidance.row[shown], items=guidance.items[shown], values=guidance.values[shown])
        counts = rows.counts()
        length = int(counts.max()) + 1  # a place of zeros, so that there is one to read
        place = (length - counts)[rows.row] + rows.places()  # zeros come first, then the items
        inputs = self.items.weight.new_zeros(len(counts), length, self.items.embedding_dim)
        inputs = inputs.index_put((rows.row, place), self.items(rows.items))
        return self.gru(inputs)[0][:, -1]


def main(dataset: str = "ml-100k", epochs: int = 3) -> float:
    """NDCG@10."""
    return run("CFGDiffRec", dataset, config_dict={"epochs": epochs, "guidance_encoder": "gru"})["test_result"][
        "ndcg@10"
    ]


if __name__ == "__main__":
    print(main())
