"""The reverse process in the space of the hidden units: exact, and it touches the items once.

Only the first and the last layer of the denoiser see the items. With ``pred_t = W_o a_t + b_o``, where ``a_t`` is the
last hidden layer (of both guidance branches, combined: they share ``W_o``), every reverse step is affine,
``x_{t-1} = alpha_t x_t + beta_t pred_t``. So for any linear image ``Z' x_t``, with ``Z`` of few columns::

    Z' x_{t-1} = alpha_t Z' x_t + beta_t (Z' W_o a_t + Z' b_o)

is known without ``x_t``, from a small matrix computed once. ``Z = W_x`` is what the denoiser needs; with ``norm`` also
the length of ``x_t``, for which ``Z = [W_x, W_o, b_o]`` suffices::

    |x_{t-1}|^2 = alpha_t^2 |x_t|^2 + 2 alpha_t beta_t x_t'pred_t + beta_t^2 |pred_t|^2
                = alpha_t^2 |x_t|^2 + beta_t (alpha_t x_t'pred_t + x_{t-1}'pred_t)

At the end ``x_0 = p x_T + W_o v + q b_o``; where ``alpha_0 = 0``, as in predicting ``x_0``, that is ``W_o a_0 + b_o``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch

from recbole_cfgdiff.diffusion.denoiser import Denoiser
from recbole_cfgdiff.diffusion.guidance import Predict, guided_prediction
from recbole_cfgdiff.diffusion.schedule import NoiseSchedule
from recbole_cfgdiff.diffusion.sparse import SparseRows, inverse_norm, squared_norm, times

# Users at a time in the steps, so that what they hold stays in the processor's cache.
_CHUNK = 512
# How many values of each weight are compared to tell whether it has changed.
_SAMPLE_SIZE = 1000
# Rows of the scores start at multiples of so many numbers: matrix products are up to 1.5 times slower otherwise.
_ALIGNMENT = 16


class _State(NamedTuple):
    """``x_t`` of some users: its images, shape ``(C, z)``, and squared length, ``(C,)``, or None without ``norm``."""

    images: torch.Tensor
    squared_norm: torch.Tensor | None

    def of(self, users: slice) -> _State:
        return _State(self.images[users], None if self.squared_norm is None else self.squared_norm[users])


class HiddenProcess:
    """``reverse_process`` of a denoiser whose weights stay as they are.

    Args:
        schedule: of ``T`` steps.
        mean_type: what the denoiser predicts, ``x0`` or ``eps``.
        denoiser: in evaluation mode, of hidden widths ``h`` (first) and ``k`` (last).
        sampling_noise: draw from each posterior instead of taking its mean: the noise is drawn as its image in the
            hidden units, which has the same distribution as the image of noise on the items.

    Raises:
        ValueError: where it would not be exact; see ``is_exact``.
    """

    @staticmethod
    def is_exact(mean_type: str, norm: bool, sampling_noise: bool) -> bool:
        """Whether the process can run in the hidden units: always, unless noise is sampled whose length matters
        (``norm``) or that is part of the scores (``eps``)."""
        return not (sampling_noise and (norm or mean_type == "eps"))

    @torch.no_grad()
    def __init__(
        self, schedule: NoiseSchedule, mean_type: str, denoiser: Denoiser, sampling_noise: bool = False
    ) -> None:
        if not self.is_exact(mean_type, denoiser.norm, sampling_noise):
            raise ValueError("sampling_noise with norm or with eps: only the process over the items is exact")
        self._denoiser = denoiser
        self._weights = [denoiser.input_weights(), *denoiser.output_weights()]
        self._versions, self._samples = self._read_versions(), self._read_samples()
        w_x, w_o, b_o = self._weights
        self._hidden_size = w_x.shape[1]
        self._table = torch.cat([w_x, w_o, b_o[:, None]], dim=1) if denoiser.norm else w_x.detach()
        self._step_matrix = w_o.T @ self._table
        self._step_offset = b_o @ self._table
        self._step_biases = denoiser.step_bias(torch.arange(schedule.steps, device=w_x.device))
        alpha, beta = schedule.step_coefficients(mean_type)
        self._coefficients = list(zip(alpha.tolist(), beta.tolist()))
        self._noise_std = schedule.posterior_std.tolist() if sampling_noise else [0.0] * schedule.steps
        # W_x'W_x = R'R, so that R' of standard normal noise has the covariance of W_x' of it.
        self._noise_factor = torch.linalg.qr(w_x, mode="r").R if sampling_noise else None

    def _read_versions(self) -> list[tuple[int, int]]:
        return [(weight.data_ptr(), weight._version) for weight in self._denoiser.parameters()]

    def _read_samples(self) -> torch.Tensor:
        """Some values of every weight: torch's fused optimisers change weights without counting it in ``_version``."""
        weights = [weight.detach().flatten() for weight in self._denoiser.parameters()]
        return torch.cat([weight[:: len(weight) // _SAMPLE_SIZE + 1] for weight in weights])

    def is_current(self) -> bool:
        """Whether the weights are still those that the products were computed from.

        Told from torch's count of changes and from some values of each weight: a change of few values through
        ``.data`` can be missed.
        """
        return self._read_versions() == self._versions and torch.equal(self._read_samples(), self._samples)

    @torch.no_grad()
    def scores(
        self, x_T: torch.Tensor | SparseRows, guidance_code: torch.Tensor | None, guidance_scales: Iterable[float]
    ) -> Iterator[torch.Tensor]:
        """``x_0`` for each guidance scale in turn; what does not depend on the scale is computed once.

        Args:
            x_T: where to start, shape ``(B, n)``.
            guidance_code: of ``Denoiser.encode``, shape ``(B, h)``, or None without guidance.
            guidance_scales: any finite numbers.

        Yields:
            shape ``(B, n)``, always in the same memory: the next overwrites it.
        """
        n_users, n_items = x_T.shape
        w_x, _, _ = self._weights
        start = _State(times(x_T, self._table), squared_norm(x_T) if self._denoiser.norm else None)
        padded = -(-n_items // _ALIGNMENT) * _ALIGNMENT
        out = torch.empty(n_users, padded, dtype=w_x.dtype, device=w_x.device)[:, :n_items]
        chunks = [slice(first, first + _CHUNK) for first in range(0, n_users, _CHUNK)]
        scales = list(guidance_scales)
        shares = len(scales) > 1 and len(self._coefficients) > 1
        first_steps = [self._remembered(self._first_step(start.of(chunk))) if shares else None for chunk in chunks]
        for guidance_scale in scales:
            for chunk, first_step in zip(chunks, first_steps):
                code = None if guidance_code is None else guidance_code[chunk]
                self._run(start.of(chunk), first_step, code, guidance_scale, out[chunk])
            self._add_start(out, x_T)
            yield out

    def _predict(self, state: _State, step: int) -> Predict:
        """The last hidden layer at ``x_t``, as a function of the encoded guidance."""
        projected = state.images[:, : self._hidden_size]
        if state.squared_norm is not None:
            projected = projected * inverse_norm(state.squared_norm)[:, None]
        first = projected + self._step_biases[step]
        return lambda code: self._denoiser.activations(first if code is None else first + code)

    def _first_step(self, state: _State) -> Predict:
        """The last hidden layer at ``x_T`` beside the images of ``x_{T-1}``, as a function of the encoded guidance.

        The images are affine in the layer, so guidance combines them as it combines the layer itself.
        """
        predict, step = self._predict(state, -1), len(self._coefficients) - 1

        def first_step(code: torch.Tensor | None) -> torch.Tensor:
            a = predict(code)
            return torch.cat([a, self._next_images(state, a, step)], dim=1)

        return first_step

    @staticmethod
    def _remembered(predict: Predict) -> Predict:
        """``predict``, computed once for guidance and once without."""
        known: dict[bool, torch.Tensor] = {}

        def remembered(code: torch.Tensor | None) -> torch.Tensor:
            if (code is None) not in known:
                known[code is None] = predict(code)
            return known[code is None]

        return remembered

    def _run(
        self,
        state: _State,
        first_step: Predict | None,
        code: torch.Tensor | None,
        guidance_scale: float,
        out: torch.Tensor,
    ) -> None:
        """All steps of some users; ``x_0`` without its share of ``x_T`` goes to ``out``, of shape ``(C, n)``."""
        _, w_o, b_o = self._weights
        carries = self._coefficients[0][0] != 0
        v, q = torch.zeros(1, 1, dtype=w_o.dtype, device=w_o.device), 0.0
        images: torch.Tensor | None
        for step in range(len(self._coefficients) - 1, -1, -1):
            if first_step is not None:
                both = guided_prediction(first_step, code, guidance_scale)
                a, images = both[:, : w_o.shape[1]], both[:, w_o.shape[1] :]
                first_step = None
            else:
                a = guided_prediction(self._predict(state, step), code, guidance_scale)
                images = self._next_images(state, a, step) if step > 0 else None
            if carries:
                alpha, beta = self._coefficients[step]
                v, q = alpha * v + beta * a, alpha * q + beta
            if images is not None:
                state = self._next(state, a, images, step)
        if not carries:
            v, q = a, 1.0
        torch.addmm(b_o, v, w_o.T, beta=q, out=out)

    def _next_images(self, state: _State, a: torch.Tensor, step: int) -> torch.Tensor:
        """The images of the mean of ``x_{t-1}`` from those of ``x_t`` and the last hidden layer."""
        alpha, beta = self._coefficients[step]
        images = torch.addmm(state.images, a, self._step_matrix, beta=alpha, alpha=beta)
        return images.add_(self._step_offset, alpha=beta)

    def _next(self, state: _State, a: torch.Tensor, images: torch.Tensor, step: int) -> _State:
        """``x_{t-1}`` from ``x_t``, the last hidden layer and the images of the mean."""
        if self._noise_factor is not None:
            noise = torch.randn(len(a), len(self._noise_factor), dtype=a.dtype, device=a.device)
            images = torch.addmm(images, noise, self._noise_factor, alpha=self._noise_std[step])
        if state.squared_norm is None:
            return _State(images, None)
        alpha, beta = self._coefficients[step]
        x_dot_prediction = self._dot_prediction(state.images, a)
        next_dot_prediction = self._dot_prediction(images, a)
        norm = alpha**2 * state.squared_norm + beta * (alpha * x_dot_prediction + next_dot_prediction)
        return _State(images, norm)

    def _dot_prediction(self, images: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """``x'(W_o a + b_o)`` from the images ``[W_x, W_o, b_o]'x``, shape ``(C,)``."""
        return (images[:, self._hidden_size : -1] * a).sum(dim=1) + images[:, -1]

    def _add_start(self, scores: torch.Tensor, x_T: torch.Tensor | SparseRows) -> None:
        """Add the share of ``x_T`` that is left after all steps."""
        share = 1.0
        for alpha, _ in self._coefficients:
            share *= alpha
        if share == 0:
            return
        if isinstance(x_T, SparseRows):
            x_T.scaled(torch.tensor([share], dtype=torch.float64, device=scores.device)).add_to(scores)
        else:
            scores.add_(x_T, alpha=share)
