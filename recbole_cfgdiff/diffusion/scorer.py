"""From a history to scores: all of a trained model that recommending needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch
from torch import nn

from recbole_cfgdiff.diffusion.denoiser import Denoiser
from recbole_cfgdiff.diffusion.fast.hidden_process import HiddenProcess
from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.guidance import branches, guided_prediction
from recbole_cfgdiff.diffusion.process import reverse_process
from recbole_cfgdiff.diffusion.restoration import Restoration
from recbole_cfgdiff.diffusion.samplers import Step
from recbole_cfgdiff.diffusion.sequences import TENSOR_TELLS_NO_ORDER


class HistoryScorer(Protocol):
    """Maps histories to scores of all items."""

    @property
    def n_items(self) -> int:
        """Number of items ``n``."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    def sweep(self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]) -> Iterator[torch.Tensor]:
        """As of ``Scorer``."""

    def item_vectors(self) -> torch.Tensor:
        """As of ``Scorer``."""

    def similarity_vectors(self) -> torch.Tensor:
        """As of ``Scorer``."""

    def query_vectors(self, history: torch.Tensor | SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Scorer``."""

    def fixed_weights(self) -> AbstractContextManager[None]:
        """As of ``Scorer``."""


class Scorer:
    """Maps histories to scores of all items.

    No module: the network is its owner's, who saves it, moves it and puts it in evaluation mode.

    Args:
        task: what is diffused and what guides it.
        denoiser: the network that predicts.
        steps: of a sampler.
        sampling_noise: draw each ``x_t`` with the step's deviation instead of taking its mean.

    Attributes:
        runs_in_hidden_space: whether the reverse process runs in the hidden units, as it does wherever that is exact;
            set it to False for the process over the items.
    """

    def __init__(self, task: Restoration, denoiser: Denoiser, steps: Sequence[Step], sampling_noise: bool) -> None:
        self.n_items = task.n_items
        self.task = task
        self.denoiser = self.network = denoiser
        self.steps = steps
        self.sampling_noise = sampling_noise
        self.runs_in_hidden_space = HiddenProcess.is_exact(denoiser, steps, sampling_noise)
        self._process: HiddenProcess | None = None

    @torch.no_grad()
    def sweep(self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]) -> Iterator[torch.Tensor]:
        """Scores for each guidance scale in turn; the history is encoded once.

        Args:
            history: 1 at a user's items and 0 elsewhere, shape ``(B, n)``; ``SparseRows`` have their entries in time
                order, which a tensor does not tell.
            guidance_scales: any finite numbers.

        Raises:
            ValueError: on a tensor where the order matters.

        Yields:
            shape ``(B, n)``, higher is better; the next may overwrite it, so that no more than one scale's scores are
            held.
        """
        x_T, guidance = self._start(history)
        code = self.denoiser.encode(guidance)
        if self.runs_in_hidden_space:
            yield from (self._process or self._make_process()).scores(x_T, code, guidance_scales)
            return
        start = x_T.dense().to(self.denoiser.input_bias.dtype) if isinstance(x_T, SparseRows) else x_T
        for scale in guidance_scales:

            def predict(x_t: torch.Tensor, t: torch.Tensor, scale: float = scale) -> torch.Tensor:
                return guided_prediction([self.denoiser(x_t, t, each) for each in branches(code, scale)], scale)

            yield reverse_process(self.steps, predict, start, self.sampling_noise)

    def item_vectors(self) -> torch.Tensor:
        """``[w_i, b_i]`` of the last layer, shape ``(n, k + 1)``."""
        weight, bias = self.denoiser.output_weights()
        return torch.cat([weight, bias[:, None]], dim=1)

    def similarity_vectors(self) -> torch.Tensor:
        """What tells how alike two items are, by the cosine; shape ``(n, k)``."""
        return self.item_vectors()[:, :-1]  # without the bias, which is no taste

    @torch.no_grad()
    def query_vectors(self, history: torch.Tensor | SparseRows, guidance_scale: float) -> torch.Tensor:
        """Vectors whose inner products with ``item_vectors`` are the scores.

        Arguments as of ``sweep``.

        Returns:
            shape ``(B, k + 1)`` for a last hidden layer of ``k`` units.

        Raises:
            ValueError: where the scores are no such products; and as ``sweep``.
        """
        if not self.runs_in_hidden_space:
            raise ValueError("the reverse process runs over the items, so that scores are no inner products of vectors")
        process = self._process or self._make_process()
        if process.share_of_start != 0:
            raise ValueError("scores hold a share of the history itself, as with mean_type eps: no inner products")
        x_T, guidance = self._start(history)
        return process.query_vectors(x_T, self.denoiser.encode(guidance), guidance_scale)

    def _start(self, history: torch.Tensor | SparseRows) -> tuple[torch.Tensor | SparseRows, SparseRows]:
        """Where the process starts, and what guides it."""
        weight = self.denoiser.input_bias  # of its device and type
        if isinstance(history, torch.Tensor) and getattr(self.denoiser.guidance_encoder, "reads_order", False):
            raise ValueError(TENSOR_TELLS_NO_ORDER)
        rows = self.task.rows(history.to(weight)) if isinstance(history, torch.Tensor) else history
        x_T, guidance = self.task.inference_start(rows)
        return x_T.to(weight.dtype) if isinstance(x_T, torch.Tensor) else x_T, guidance

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """Within it the weights must not change: what they alone tell is computed once, not once a call."""
        outer = self._process
        self._process = outer or (self._make_process() if self.runs_in_hidden_space else None)
        try:
            yield
        finally:
            self._process = outer

    def _make_process(self) -> HiddenProcess:
        return HiddenProcess(self.denoiser, self.steps, self.sampling_noise)
