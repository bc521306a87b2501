"""Importance sampling of the diffusion step a user is trained at."""

from __future__ import annotations

import torch
from torch import nn

# The least probability of a step is UNIFORM_SHARE / T, so that none starves (RecBole's and DiffRec's value).
UNIFORM_SHARE = 0.001


class TimestepSampler(nn.Module):
    """Draws steps in proportion to the root mean square of their latest losses (DiffRec Sec. 3.4.2; Nichol & Dhariwal
    2021, Eq. 18); uniformly until every step has been seen ``history_num_per_term`` times.

    Args:
        steps: number of diffusion steps ``T``.
        history_num_per_term: how many of the latest losses of a step are remembered.

    State, in buffers so that it is saved and moved with the model: ``loss_history`` of shape
    ``(T, history_num_per_term)``, a ring per step, and ``loss_count`` of shape ``(T,)``.
    """

    loss_history: torch.Tensor
    loss_count: torch.Tensor

    def __init__(self, steps: int, history_num_per_term: int) -> None:
        super().__init__()
        self.register_buffer("loss_history", torch.zeros(steps, history_num_per_term, dtype=torch.float64))
        self.register_buffer("loss_count", torch.zeros(steps, dtype=torch.long))

    def probabilities(self) -> torch.Tensor:
        """Probability of each step, float64, shape ``(T,)``."""
        steps, capacity = self.loss_history.shape
        root_mean_square = self.loss_history.square().mean(dim=1).sqrt()
        total = root_mean_square.sum()
        importance = (1 - UNIFORM_SHARE) * root_mean_square / total + UNIFORM_SHARE / steps
        usable = (self.loss_count >= capacity).all() & (total > 0)
        return torch.where(usable, importance, torch.full_like(importance, 1 / steps))

    def sample(self, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw a step per user.

        Returns:
            steps, shape ``(B,)``, and ``T p(t)`` of each, float32, shape ``(B,)``: what its loss is to be divided by.
        """
        probabilities = self.probabilities()
        t = torch.multinomial(probabilities, batch_size, replacement=True)
        return t, (probabilities[t] * len(probabilities)).float()

    @torch.no_grad()
    def update(self, t: torch.Tensor, losses: torch.Tensor) -> None:
        """Remember the losses of a batch, in the batch's order.

        Args:
            t: steps, shape ``(B,)``.
            losses: weighted losses before the division by ``T p(t)``, shape ``(B,)``.
        """
        steps, capacity = self.loss_history.shape
        in_batch = torch.zeros_like(self.loss_count).scatter_add_(0, t, torch.ones_like(t))
        order = torch.argsort(t, stable=True)
        t_sorted = t[order]
        first = in_batch.cumsum(0) - in_batch
        rank = torch.arange(len(t), device=t.device) - first[t_sorted]
        slot = (self.loss_count[t_sorted] + rank) % capacity
        # Of more than `capacity` losses of one step only the last ones stay; the others are written to a spare cell.
        overwritten = rank < in_batch[t_sorted] - capacity
        cell = torch.where(overwritten, steps * capacity, t_sorted * capacity + slot)
        cells = torch.cat([self.loss_history.flatten(), self.loss_history.new_zeros(1)])
        cells[cell] = losses.detach()[order].to(cells.dtype)
        self.loss_history.copy_(cells[:-1].view_as(self.loss_history))
        self.loss_count += in_batch
