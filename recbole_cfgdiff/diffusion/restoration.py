"""What is diffused and what guides it, in DiffRec and CFG-DiffRec: the history, both."""

from __future__ import annotations

import torch

from recbole_cfgdiff.diffusion.fast.sparse import SparseRows
from recbole_cfgdiff.diffusion.schedule import NoiseSchedule

# Of histories whose weights are all 0.
_LEAST_SQUARED_NORM = 1e-6


class Restoration:
    """A history is noised and restored, guided by itself (the paper, Sec. III-B); DiffRec's denoiser has no encoder and
    does not see the guidance.

    Variants override ``training_example`` and ``inference_start``.

    Args:
        n_items: number of items ``n``.
        schedule: of the noise.
        sampling_steps: noise the history for so many steps before inference; 0 starts from it as it is.
    """

    def __init__(self, n_items: int, schedule: NoiseSchedule, sampling_steps: int = 0) -> None:
        self.n_items = n_items
        self.schedule = schedule
        self.sampling_steps = sampling_steps

    @property
    def guidance_columns(self) -> int:
        """Columns of the guidance."""
        return self.n_items

    def training_example(self, history: SparseRows) -> tuple[SparseRows, SparseRows]:
        """What is trained on.

        Args:
            history: shape ``(B, n)``, entries in time order.

        Returns:
            ``x_start`` of shape ``(B, n)`` and the guidance, of shape ``(B, guidance_columns)``.
        """
        return history, history

    def inference_start(self, history: SparseRows) -> tuple[SparseRows | torch.Tensor, SparseRows]:
        """Where the reverse process starts: the history itself, or noised for ``sampling_steps`` steps.

        Args:
            history: shape ``(B, n)``, entries in time order.

        Returns:
            ``x_T`` of shape ``(B, n)`` and the guidance, of shape ``(B, guidance_columns)``.
        """
        if self.sampling_steps == 0:
            return history, history
        t = torch.tensor([self.sampling_steps - 1], device=history.values.device)
        noise = torch.randn(history.shape, dtype=history.values.dtype, device=history.values.device)
        return self.schedule.q_sample(history, t, noise), history

    def mean_squared_norm(self, counts: torch.Tensor, squared_norms: torch.Tensor) -> float:
        """Of ``x_start``, in the mean over users.

        Args:
            counts: number of items of each user's history, shape ``(n_users,)``.
            squared_norms: its squared length, shape ``(n_users,)``.
        """
        return max(float(squared_norms.mean()), _LEAST_SQUARED_NORM)

    def rows(self, history: torch.Tensor) -> SparseRows:
        """A history given as a tensor of shape ``(B, n)``: entries in the order of the items.

        Raises:
            ValueError: where the order matters.
        """
        return SparseRows.of_dense(history)
