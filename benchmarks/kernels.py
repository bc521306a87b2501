"""Operations of ``diffusion/fast/`` beside torch's own, on one thread.

python benchmarks/kernels.py [--repeats=40] [--output=benchmarks/kernels.json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from recbole_cfgdiff.diffusion.encoders import SequenceEncoder
from recbole_cfgdiff.diffusion.fast.attention import causal_attention
from recbole_cfgdiff.diffusion.fast.by_length import last_states
from recbole_cfgdiff.diffusion.fast.kernels import Tanh, dropped
from recbole_cfgdiff.diffusion.fast.softmax_loss import sampled_softmax_loss, softmax_loss
from recbole_cfgdiff.diffusion.fast.sparse import SparseRows


def best_milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Of so many calls the shortest."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return round(1000 * min(seconds), 2)


def compared(ours: Callable[[], object], torchs: Callable[[], object], repeats: int) -> dict[str, float]:
    """A row."""
    return {"ms": best_milliseconds(ours, repeats), "torch ms": best_milliseconds(torchs, repeats)}


def with_gradients(call: Callable[..., torch.Tensor], *parameters: torch.Tensor) -> Callable[[], object]:
    """A call, and the gradients of the sum of what it returns."""
    inputs = [each.clone().requires_grad_() for each in parameters]
    return lambda: torch.autograd.grad(call(*inputs).sum(), inputs)


def projections() -> tuple[Callable[[], object], Callable[[], object]]:
    """400 histories of 50 of 2,811 items through the first layer, as sparse rows and as a matrix."""
    dense = torch.zeros(400, 2811)
    dense.scatter_(1, torch.stack([torch.randperm(2811)[:50] for _ in range(400)]), 1.0)
    rows, table = SparseRows.of_dense(dense), torch.randn(2811, 1000)
    return with_gradients(rows.times, table), with_gradients(lambda table: dense @ table, table)


def losses() -> tuple[Callable[[], object], Callable[[], object], Callable[[], object]]:
    """The softmax loss of 1,024 rows of 64 over 11,925 items: exact, with 1,000 negatives, and torch's."""
    parameters = torch.randn(1024, 64), 0.1 * torch.randn(11_925, 64), torch.zeros(11_925)
    targets, weights = torch.randint(11_925, (1024, 1)), torch.ones(1024, 1)

    def torchs(features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(features @ weight.T + bias, targets[:, 0], reduction="sum")

    return (
        with_gradients(lambda f, w, b: softmax_loss(f, w, b, targets, weights), *parameters),
        with_gradients(lambda f, w, b: sampled_softmax_loss(f, w, b, targets, weights, 1000), *parameters),
        with_gradients(torchs, *parameters),
    )


def attention() -> tuple[Callable[[], object], Callable[[], object]]:
    """Causal attention of 16 histories of 64 items under mixed precision: 2 heads of 32."""
    heads = [torch.randn(16, 2, 64, 32, dtype=torch.bfloat16) for _ in range(3)]

    def ours(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu"):
            return causal_attention(query, key, value, 0.0)

    def torchs(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu"):
            return nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)

    return with_gradients(ours, *heads), with_gradients(torchs, *heads)


def encodings() -> tuple[Callable[[], object], Callable[[], object]]:
    """The encoder on 1,024 sequences, half of at most 45 items, the longest of 200."""
    encoder = SequenceEncoder(2811).eval()
    counts = (200 * torch.rand(1024) ** 2.15).long() + 1
    items = torch.randint(1, 2811, (1024, 200)) * (torch.arange(200) < counts[:, None])
    return lambda: last_states(encoder, items), lambda: encoder.last(items)


def main() -> None:
    """Print and write a row for each operation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    hidden, batch, tanh = torch.randn(512, 1000), torch.randn(400, 2811), Tanh()
    cases: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "tanh of 512 x 1,000": (lambda: tanh(hidden), lambda: torch.tanh(hidden)),
        "dropout of 400 x 2,811": (lambda: dropped(batch, 0.5), lambda: nn.functional.dropout(batch, 0.5)),
    }
    rows = {}
    with torch.no_grad():
        for name, (ours, torchs) in cases.items():
            rows[name] = compared(ours, torchs, arguments.repeats)
        rows["encoder on 1,024 sequences, by length"] = compared(*encodings(), min(5, arguments.repeats))
    exact, sampled, torchs = losses()
    rows["product of 400 x 50 entries and 2,811 x 1,000"] = compared(*projections(), arguments.repeats)
    rows["softmax loss of 1,024 x 11,925"] = compared(exact, torchs, arguments.repeats)
    rows["softmax loss of 1,024 x 11,925, 1,000 negatives"] = compared(sampled, torchs, arguments.repeats)
    rows["attention of 16 x 2 x 64 x 32 in 16 bits"] = compared(*attention(), arguments.repeats)
    for name, row in rows.items():
        print(name, row)
    arguments.output.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
