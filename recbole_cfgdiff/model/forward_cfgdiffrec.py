"""CFG-DiffRec that looks forward: the past guides the diffusion of the future. Ours; derived in docs/method.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.data.histories import trained_pairs, trained_users
from recbole_cfgdiff.diffusion import Denoiser, SparseRows
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model.cfgdiffrec import CFGDiffRec
from recbole_cfgdiff.model.hyperparameters import ForwardCFGDiffRecHyperparameters
from recbole_cfgdiff.model.options import read_choice, read_number, read_numbers

# How many shares, evenly from cut_min to cut_max, stand for all of them in the mean size of a future.
_N_SHARES = 64


class ForwardCFGDiffRec(CFGDiffRec):
    """CFG-DiffRec trained to find what comes next, not to restore what it is given.

    Each time a user is in a batch, a cut divides the history, in time order or, with probability ``p_shuffle``, in
    random order: the items after it are diffused, those before it are the guidance. For inference the whole history is
    the guidance, and the reverse process starts from the noise's mean, zero: it knows nothing but the guidance. Scores
    are those of an average of the weights over the training.

    Hyperparameters beside CFGDiffRec's: ``cut_min``, ``cut_max``, ``p_shuffle``, ``recency_powers``,
    ``user_weight_power``, ``item_weight_power``, ``ema_decay``; ``properties/model/ForwardCFGDiffRec.yaml`` explains
    each.

    Raises:
        ConfigError: on a hyperparameter out of its range, or if the data set has no times.
    """

    hyperparameters_class = ForwardCFGDiffRecHyperparameters
    root_item_weights: torch.Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        # The mean of the noise says nothing of the noise, so that there is nothing to start from with eps.
        read_choice(config, "mean_type", ["x0"])
        read_choice(config, "sampling_steps", [0])
        if config["time-aware"]:
            raise ConfigError("time-aware: recency_powers weight the past by recency here; set time-aware to False")
        if dataset.time_field not in dataset.inter_feat:
            raise ConfigError(
                f"ForwardCFGDiffRec: the data set {dataset.dataset_name} has no column {dataset.time_field!r} that "
                "tells the past from the future; load one (load_col, TIME_FIELD)"
            )
        self.cut_min, self.cut_max = _read_cuts(config)
        self.p_shuffle = read_number(config, "p_shuffle", 0, 1)
        self.recency_powers = _read_recency_powers(config)
        self.user_weight_power = read_number(config, "user_weight_power", 0)
        counts = _count_items(dataset).clamp(min=1).float().to(self.device)
        item_weights = (counts / counts.mean()) ** -read_number(config, "item_weight_power", 0)
        self.register_buffer("root_item_weights", item_weights.sqrt(), persistent=False)
        self.averaged = diffusion.MovingAverage(self.denoiser, read_number(config, "ema_decay", 0, 1))
        self.averaged.network.__dict__.pop("features", None)  # torch_compile's, of the original's weights

    @property
    def scoring_denoiser(self) -> Denoiser:
        """The one with the averaged weights."""
        return self.averaged.network

    def _guidance_size(self, config: Any) -> int:
        return self.n_items * len(_read_recency_powers(config))

    def _mean_squared_norm(self, config: Any, dataset: Any) -> float:
        counts = self.histories.counts()[trained_users(dataset)]
        shares = torch.linspace(*_read_cuts(config), _N_SHARES).tolist()
        return float(torch.stack([(counts - _cut(share, counts)).double().mean() for share in shares]).mean())

    def training_example(self, users: torch.Tensor) -> tuple[SparseRows, SparseRows]:
        """The items after a cut, guided by those before it. Shapes as in DiffRec.

        With probability ``p_shuffle``, drawn anew for each user of each batch, a history is put into random order
        first. The cut is uniform between the shares ``cut_min`` and ``cut_max`` of a history; the last item is always
        after it.
        """
        history = self.histories.select(users)
        history = history.shuffled(torch.rand(len(users), device=users.device) < self.p_shuffle)
        counts = history.counts()
        share = torch.empty(len(users), device=counts.device).uniform_(self.cut_min, self.cut_max)
        cut = _cut(share, counts)
        is_past = history.places() < cut[history.row]
        past, future = (replace(history, values=history.values * chosen) for chosen in (is_past, ~is_past))
        return future, self._guidance(past, cut)

    def inference_start(self, history: SparseRows) -> tuple[SparseRows, SparseRows]:
        """The mean of the noise, guided by the history. Shapes as in DiffRec."""
        return history.zeros(), self._guidance(history, history.counts())

    def _guidance(self, past: SparseRows, ends: torch.Tensor) -> SparseRows:
        """For each of ``r = recency_powers`` the items weighted by ``d^-r`` and normalised, side by side.

        Args:
            past: shape ``(B, n)``.
            ends: what the ``d = 1, 2, ...`` places of the items are counted back from, shape ``(B,)``.

        Returns:
            shape ``(B, n * len(recency_powers))``.
        """
        distance = (ends[past.row] - past.places()).clamp(min=1).to(past.values.dtype)
        weighted = (replace(past, values=past.values * distance**-power) for power in self.recency_powers)
        return SparseRows.beside([rows.normalised() for rows in weighted])

    def _squared_errors(self, features: torch.Tensor, target: SparseRows | torch.Tensor) -> torch.Tensor:
        """``m^-user_weight_power sum_i w_i (W_o a + b_o - target)_i^2`` for each user, ``m`` the items of its target.

        As the plain error of everything times ``sqrt(w_i)``. Shapes as in DiffRec.
        """
        assert isinstance(target, SparseRows)  # x_start
        root, layer = self.root_item_weights, self.denoiser.output_layer
        scaled = replace(target, values=target.values * root[target.items])
        errors = diffusion.squared_errors(features, layer.weight * root[:, None], layer.bias * root, scaled)
        return errors * target.counts().clamp(min=1).to(errors.dtype) ** -self.user_weight_power

    def after_step(self) -> None:
        """Let the weights enter the average; the trainer calls it after every step of the optimiser."""
        self.averaged.update(self.denoiser)

    def guidance_sweep(
        self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]
    ) -> Iterator[torch.Tensor]:
        """As of any model here, but ``history`` has to be ``SparseRows``, whose entries have an order.

        Raises:
            ValueError: on a tensor.
        """
        if not isinstance(history, SparseRows):
            raise ValueError("history: expected SparseRows, entries in time order; a tensor does not tell their order")
        return super().guidance_sweep(history, guidance_scales)


def _cut(share: torch.Tensor | float, counts: torch.Tensor) -> torch.Tensor:
    """How many of ``counts`` items are the past; the last never is. Shapes ``(B,)``."""
    return torch.minimum((share * counts).long(), counts - 1)


def _read_cuts(config: Any) -> tuple[float, float]:
    cut_min = read_number(config, "cut_min", 0, 1)
    return cut_min, read_number(config, "cut_max", cut_min, 1)


def _read_recency_powers(config: Any) -> list[float]:
    powers = read_numbers(config, "recency_powers")
    if not powers:
        raise ConfigError("recency_powers: expected at least one number, such as [0.5]")
    return powers


def _count_items(dataset: Any) -> torch.Tensor:
    """Interactions of each item with the users who are trained on, int64, shape ``(n,)``."""
    _, items = trained_pairs(dataset)
    return torch.bincount(items, minlength=dataset.item_num)
