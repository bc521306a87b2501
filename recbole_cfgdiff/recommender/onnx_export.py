"""A model as an ONNX graph: histories in, scores out. Nothing here reads such a file."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from recbole_cfgdiff.diffusion import (
    Forecast,
    HiddenProcess,
    NextItemRidge,
    RidgeScorer,
    Scorer,
    SequenceScorer,
    guided_prediction,
)
from recbole_cfgdiff.diffusion.encoders import EmbeddedGuidance, RawGuidance
from recbole_cfgdiff.diffusion.sequences import lengths
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender.source import HistorySource
from recbole_cfgdiff.scoring.hyperparameters import DiffRecHyperparameters

if TYPE_CHECKING:
    from recbole_cfgdiff.recommender.recommender import Recommender

ONNX = "model.onnx"

_MOST_BYTES = 2**31 - 2**24  # of weights in the file itself, which protobuf limits to 2 GiB; more go into one beside it


def write_onnx(recommender: Recommender, folder: Path) -> None:
    """Write ``model.onnx`` into a folder; what it takes and gives is said by ``card_section``.

    Raises:
        ConfigError: if the model's scores can't be such a graph, or a package is missing.
        OSError: if the file can't be written.
    """
    graph = _graph(recommender).eval()
    try:
        import_module("onnxscript")  # which needs onnx
    except ImportError as error:
        raise ConfigError(f'format onnx: {error}; pip install "recbole-cfgdiff[onnx]"') from error
    inputs = {"history": torch.zeros(2, len(recommender.items)), "guidance_scale": torch.tensor(1.0)}
    if not recommender.source.is_guided:
        del inputs["guidance_scale"]
    with _quietly():
        program = torch.onnx.export(
            graph,
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["scores"],
            dynamic_shapes={name: {0: torch.export.Dim("batch")} if name == "history" else None for name in inputs},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # the paths of this machine's Python files
    weights = [each.const_value for each in program.model.graph.initializers.values()]
    size = sum(each.nbytes for each in weights if each is not None)
    program.save(folder / ONNX, external_data=size > _MOST_BYTES)


@contextmanager
def _quietly() -> Iterator[None]:
    """Torch's exporter warns of packages that nothing here needs, and of itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            yield
    finally:
        logger.setLevel(level)


def _graph(recommender: Recommender) -> nn.Module:
    """The network with its reverse process. Errors as of ``write_onnx``."""
    source = recommender.source
    if not isinstance(source, HistorySource):
        raise ConfigError("format onnx: the scores of this model need RecBole")
    given, scorer = source.given, source.scorer
    if isinstance(scorer, SequenceScorer):
        return _SequenceGraph(scorer)
    if isinstance(scorer, RidgeScorer):
        return _RidgeGraph(scorer.network, scorer.max_length)
    assert isinstance(scorer, Scorer) and isinstance(given, DiffRecHyperparameters)
    encoder = scorer.denoiser.guidance_encoder
    if given.sampling_noise or given.sampling_steps:
        name = "sampling_noise" if given.sampling_noise else "sampling_steps"
        raise ConfigError(f"format onnx: {name} makes the scores random, which a graph is not; train without it")
    if type(encoder) not in (RawGuidance, EmbeddedGuidance, type(None)):  # others need not take dense rows
        raise ConfigError(f"format onnx: guidance_encoder: expected raw or embedding, got {type(encoder).__name__}")
    return _Graph(scorer, given)


class _Graph(nn.Module):
    """Maps histories of the items, without the padding item, to their scores; by the process in the hidden units."""

    def __init__(self, scorer: Scorer, given: DiffRecHyperparameters) -> None:
        super().__init__()
        self.task, self.given = scorer.task, given
        self.denoiser = copy.deepcopy(scorer.denoiser).float().cpu().requires_grad_(False)
        self.process = HiddenProcess(self.denoiser, scorer.steps)

    def forward(self, history: torch.Tensor, guidance_scale: torch.Tensor | None = None) -> torch.Tensor:
        """Arguments as ``card_section`` says."""
        x_T, guidance = self._start(F.pad(history, (1, 0)))
        start = self.process.start(x_T)
        if guidance_scale is None:
            v, q = self.process.run(start, [None], 0)
        else:
            v, q = self.process.run(start, [None, self.denoiser.encode(guidance)], guidance_scale)
        scores = torch.addmm(self.process.b_o, v, self.process.w_o.T, beta=q)
        share = self.process.share_of_start
        return (scores + share * x_T if share else scores)[:, 1:]

    def _start(self, distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``inference_start`` of the task, from items by how late they are, of shape ``(B, n)``."""
        is_there = (distance > 0).to(distance.dtype)
        if isinstance(self.task, Forecast):
            late = distance.clamp(min=1)
            parts = [F.normalize(is_there * late**-power) for power in self.task.recency_powers]
            return torch.zeros(1, self.task.n_items), torch.cat(parts, dim=1)  # all start at the same
        if self.given.time_aware:
            counts = is_there.sum(dim=1, keepdim=True)
            position = (counts - distance) / (counts - 1).clamp(min=1)
            is_there = is_there * (self.given.w_min + (self.given.w_max - self.given.w_min) * position)
        return is_there, is_there


class _SequenceGraph(nn.Module):
    """The same of a model that reads sequences."""

    def __init__(self, scorer: SequenceScorer) -> None:
        super().__init__()
        self.denoiser = copy.deepcopy(scorer.denoiser).float().cpu().requires_grad_(False)
        self.prior = None if scorer.prior is None else _RidgeGraph(scorer.prior, scorer.max_length)
        self.prior_weight = scorer.prior_weight
        self.steps, self.length = scorer.steps, min(scorer.max_length, scorer.n_items - 1)

    def forward(self, history: torch.Tensor, guidance_scale: torch.Tensor) -> torch.Tensor:
        """Arguments as ``card_section`` says."""
        guidance = self.denoiser.encoder.last(_sequence(F.pad(history, (1, 0)), self.length))
        t = torch.tensor([self.steps])
        predictions = [self.denoiser(each, None, t) for each in (torch.zeros_like(guidance), guidance)]
        weight, bias = self.denoiser.output_weights()
        logits = torch.addmm(bias, guided_prediction(predictions, guidance_scale), weight.T)[:, 1:]
        return logits if self.prior is None else logits + guidance_scale * self.prior_weight * self.prior(history)


class _RidgeGraph(nn.Module):
    """The same of the linear model."""

    def __init__(self, ridge: NextItemRidge, max_length: int) -> None:
        super().__init__()
        self.ridge, self.length = copy.deepcopy(ridge).cpu(), min(max_length, ridge.n_items - 1)

    def forward(self, history: torch.Tensor) -> torch.Tensor:
        """Arguments as ``card_section`` says."""
        items = _sequence(F.pad(history, (1, 0)), self.length)
        batch = items.shape[0]
        row = torch.arange(batch)[:, None].expand_as(items)
        age = (lengths(items)[:, None] - torch.arange(self.length)).clamp(min=1)
        return self.ridge.of_entries(row.flatten(), items.flatten(), age.flatten(), batch)[:, 1:]


def _sequence(distance: torch.Tensor, length: int) -> torch.Tensor:
    """As of ``diffusion.latest``, from items by how late they are, of shape ``(B, n)``."""
    nearness, items = torch.where(distance > 0, -distance, -torch.inf).topk(length, dim=1)
    counts = (nearness > -torch.inf).sum(dim=1, keepdim=True)
    latest_first = counts - 1 - torch.arange(length)
    in_order = items.gather(1, latest_first.clamp(min=0))
    return torch.where(latest_first >= 0, in_order, torch.zeros_like(in_order))


def card_section(recommender: Recommender) -> str:
    """What the model card says of the graph, of a model that ``write_onnx`` takes."""
    is_guided = recommender.source.is_guided
    scale = str(recommender.guidance_scale)
    return _CARD.format(
        file=ONNX,
        n_items=len(recommender.items),
        order=_order(recommender),
        guidance=_GUIDANCE.format(scale=scale) if is_guided else "",
        example=", ".join(repr(str(each)) for each in recommender.items.ids.ids[:2]),
        inputs=f'"guidance_scale": np.array({scale}, dtype=np.float32), "history"' if is_guided else '"history"',
    )


def _order(recommender: Recommender) -> str:
    """What the graph makes of the places in a history."""
    source = recommender.source
    assert isinstance(source, HistorySource)
    scorer, given = source.scorer, source.given
    if isinstance(scorer, (RidgeScorer, SequenceScorer)):
        return f"The graph reads the {scorer.max_length} latest items in their order, each once."
    assert isinstance(scorer, Scorer) and isinstance(given, DiffRecHyperparameters)
    task = scorer.task
    if isinstance(task, Forecast):
        powers = " and once ".join(f"d^-{power:g}" for power in task.recency_powers)
        return f"The graph weights an item at place d once {powers}, and brings each weighting to length 1."
    if given.time_aware:
        slope = given.w_max - given.w_min
        return f"The graph weights the item at place d of m by {given.w_min:g} + {slope:g} (m - d) / max(m - 1, 1)."
    return "For this model the order does not count; it may as well be 1 for every item."


_CARD = """## ONNX

`{file}` maps histories to scores, by any runtime for ONNX. Weights beyond 2 GB stand in `{file}.data` beside it.
Inputs:

- `history`, float32, shape (batch, {n_items}): a row a person, a column an item in the order of `items.parquet`.
  0 where the person does not have the item, else its place in the history counted back from the latest: 1, 2, 3 ...
  {order}
{guidance}
The output `scores`, float32, is of the shape of `history`; higher is better. Items of the history have scores as well.

```python
import numpy as np
import onnxruntime
import pandas as pd

items = pd.read_parquet("items.parquet")["item"]
column = {{item: place for place, item in enumerate(items)}}
histories = [[{example}], []]  # the earliest item first
history = np.zeros((len(histories), len(items)), dtype=np.float32)
for row, ids in zip(history, histories):
    different = list(dict.fromkeys(ids))  # of an item that is there twice, the first time counts
    for place, item in enumerate(reversed(different), start=1):
        row[column[item]] = place

session = onnxruntime.InferenceSession("{file}")
(scores,) = session.run(["scores"], {{{inputs}: history}})
```

recbole-cfgdiff writes `{file}` and never reads one.
"""

_GUIDANCE = """- `guidance_scale`, float32, without a dimension: 0 unguided, 1 guided, above 1 extrapolated; the model's
  own is {scale}.
"""
