"""From a sequence to scores: all of a trained next-items model that recommending needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from recbole_cfgdiff.diffusion.fast.by_length import last_states
from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.guidance import branches, guided_prediction
from recbole_cfgdiff.diffusion.next_item_ridge import NextItemRidge
from recbole_cfgdiff.diffusion.next_items import NextItemsDenoiser
from recbole_cfgdiff.diffusion.sequences import TENSOR_TELLS_NO_ORDER, latest


class SequenceNetwork(nn.Module):
    """All that a ``SequenceScorer`` scores by.

    Args:
        denoiser: predicts the next items.
        prior: the linear part; None without.
    """

    def __init__(self, denoiser: NextItemsDenoiser, prior: NextItemRidge | None) -> None:
        super().__init__()
        self.denoiser, self.prior = denoiser, prior


class SequenceScorer:
    """Maps histories to scores of all items: the logits of what comes next, everything hidden. A ``HistoryScorer``.

    The last step, ``T``, is all that the ranking needs: its prediction is the marginal distribution of a next item.
    Since the denoiser's logits are linear in its last hidden layer, guidance combines that, and the items are touched
    once. The prior, being a function of the history, is part of what is guided.

    Args:
        network: the denoiser and the prior.
        steps: ``T``.
        max_length: the latest items of a history that are read.
        prior_weight: factor of the prior's scores, which are added to the logits.
    """

    def __init__(self, network: SequenceNetwork, steps: int, max_length: int, prior_weight: float = 0.0) -> None:
        self.network = network
        self.denoiser, self.prior = network.denoiser, network.prior
        self.n_items = len(self.denoiser.output_bias)
        self.steps = steps
        self.max_length = max_length
        self.prior_weight = prior_weight

    @torch.no_grad()
    def sweep(self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]) -> Iterator[torch.Tensor]:
        """As of ``Scorer``; the history is encoded once."""
        items = self.read(history)
        guidance, prior = self.guidance(items), self.prior_logits(items)
        for scale in guidance_scales:
            yield self.logits(guidance, prior, scale)

    def item_vectors(self) -> torch.Tensor:
        """As of ``Scorer``: the items' own vectors and their biases."""
        self._check_no_prior()
        weight, bias = self.denoiser.output_weights()
        return torch.cat([weight, bias[:, None]], dim=1)

    def similarity_vectors(self) -> torch.Tensor:
        """As of ``Scorer``."""
        return self.denoiser.output_weights()[0]

    @torch.no_grad()
    def query_vectors(self, history: torch.Tensor | SparseRows, guidance_scale: float) -> torch.Tensor:
        """As of ``Scorer``."""
        self._check_no_prior()
        guidance = self.guidance(self.read(history))
        hidden = self.last_hidden(guidance, guidance_scale)
        return torch.cat([hidden, hidden.new_ones(len(hidden), 1)], dim=1)

    def _check_no_prior(self) -> None:
        """Errors as of ``item_vectors``."""
        if self.prior is not None:
            raise ValueError(
                "the scores of a model with a linear part are no inner products of short vectors; train it with "
                "linear_weight 0"
            )

    def read(self, history: torch.Tensor | SparseRows) -> torch.Tensor:
        """The sequences, as of ``latest``. Arguments and errors as of ``sweep``."""
        if isinstance(history, torch.Tensor):
            raise ValueError(TENSOR_TELLS_NO_ORDER)
        return latest(history, self.max_length)

    def guidance(self, items: torch.Tensor) -> torch.Tensor:
        """What guides after each sequence of ``read``, shape ``(B, d)``; 0 of an empty one."""
        return last_states(self.denoiser.encoder, items)

    def prior_logits(self, items: torch.Tensor) -> torch.Tensor | None:
        """What the linear part adds to the logits after each sequence of ``read``, shape ``(B, n)``; None without."""
        return None if self.prior is None else self.prior_weight * self.prior(items)

    def logits(
        self,
        guidance: torch.Tensor,
        prior: torch.Tensor | None,
        guidance_scale: float,
        shown: torch.Tensor | None = None,
        t: int | None = None,
    ) -> torch.Tensor:
        """Guided logits of all items, shape ``(B, n)``. ``prior`` is of ``prior_logits``, the rest as of
        ``last_hidden``."""
        weight, bias = self.denoiser.output_weights()
        logits = torch.addmm(bias, self.last_hidden(guidance, guidance_scale, shown, t), weight.T)
        return logits if prior is None else logits.add_(prior, alpha=guidance_scale)

    def last_hidden(
        self,
        guidance: torch.Tensor,
        guidance_scale: float,
        shown: torch.Tensor | None = None,
        t: int | None = None,
    ) -> torch.Tensor:
        """``z`` with guidance and without, combined; the logits are its inner products with the items' vectors.

        Args:
            guidance: of ``guidance``, shape ``(B, d)``.
            guidance_scale: any finite number.
            shown: of ``NextItemsDenoiser.embed``, shape ``(B, d)``; None where everything is hidden.
            t: step from 1 to ``T``; None is ``T``.

        Returns:
            shape ``(B, d)``.
        """
        step = torch.tensor([self.steps if t is None else t], device=guidance.device)
        predictions = [
            self.denoiser(torch.zeros_like(guidance) if each is None else each, shown, step)
            for each in branches(guidance, guidance_scale)
        ]
        return guided_prediction(predictions, guidance_scale)

    @contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """As of ``Scorer``; nothing is kept."""
        yield
