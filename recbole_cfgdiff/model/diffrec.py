"""DiffRec (Wang et al., "Diffusion Recommender Model", SIGIR 2023) as a RecBole model."""

from __future__ import annotations

import math
from dataclasses import replace
from logging import getLogger
from typing import Any

import torch

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.data.histories import trained_users
from recbole_cfgdiff.data.loaders import UserDataLoader
from recbole_cfgdiff.diffusion import NoiseSchedule, SparseRows
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model.history_recommender import HistoryRecommender
from recbole_cfgdiff.scoring.histories import Histories
from recbole_cfgdiff.scoring.hyperparameters import DiffRecHyperparameters
from recbole_cfgdiff.scoring.parts import make_denoiser, make_restoration, make_schedule, make_scorer, taken


class DiffRec(HistoryRecommender):
    """Denoises users' noised histories; the denoised vector is the ranking.

    Hyperparameters carry the names of RecBole's DiffRec; ``hyperparameters_class`` explains each. Loaded with the
    weights of RecBole's DiffRec (``load_recbole_weights``) it gives the same scores.

    Variants override the class attributes, and ``make_task`` (what is diffused, and under which
    guidance), ``make_denoiser`` (the network) or ``losses``.

    Args:
        config: RecBole's configuration.
        dataset: the training part of the data set.
        histories: of all its users; None reads them from ``dataset``.

    Raises:
        ConfigError: on a hyperparameter out of its range.
    """

    train_loader = UserDataLoader
    hyperparameters_class: type[DiffRecHyperparameters] = DiffRecHyperparameters
    make_task = staticmethod(make_restoration)
    make_denoiser = staticmethod(make_denoiser)
    hyperparameters: DiffRecHyperparameters
    scorer: diffusion.Scorer
    loss_weights: torch.Tensor

    def __init__(self, config: Any, dataset: Any, histories: Histories | None = None) -> None:
        super().__init__(config, dataset, histories)
        given = self.hyperparameters
        self.mean_type = given.mean_type
        self.schedule = make_schedule(given)
        weights = self.schedule.loss_weights(given.mean_type)
        self.register_buffer("loss_weights", weights if given.reweight else torch.ones_like(weights), persistent=False)
        self.timestep_sampler = diffusion.TimestepSampler(given.steps, given.history_num_per_term)
        self.task = self.make_task(given, self.n_items, self.schedule)
        trained = trained_users(dataset)
        size = self.task.mean_squared_norm(self.histories.counts()[trained], self.histories.squared_norms()[trained])
        scales = automatic_scales(given, self.schedule, size, self.n_items)
        self.denoiser = self.make_denoiser(given, self.n_items, self.task.guidance_columns, *scales)
        features = self.denoiser.features
        self._features = torch.compile(features) if given.torch_compile else features
        self.scorer = make_scorer(given, self.task, self.denoiser)
        getLogger().info("input_scale {:.4g}, output_scale {:.4g}".format(*scales))
        space = "hidden units" if self.scorer.runs_in_hidden_space else "items"
        getLogger().info(f"Inference in the space of the {space}")

    def check_data(self, dataset: Any) -> None:
        """Errors as of the class: ``time-aware`` needs times."""
        if self.hyperparameters.time_aware and dataset.time_field not in dataset.inter_feat:
            raise ConfigError(
                f"time-aware: the data set {dataset.dataset_name} has no column {dataset.time_field!r} to order by; "
                "load one (load_col, TIME_FIELD) or set time-aware to False"
            )

    def taken(self, histories: Histories) -> Histories:
        """Each item once, weighted by recency where ``time-aware``."""
        return taken(self.hyperparameters, histories)

    def training_example(self, users: torch.Tensor) -> tuple[SparseRows, SparseRows]:
        """What users, ids of shape ``(B,)``, are trained on. Result as of ``Restoration``."""
        return self.task.training_example(self.histories.select(users))

    def losses(
        self, x_start: SparseRows, guidance: SparseRows | None, t: torch.Tensor, noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Weighted loss of each user, before the division by ``T p(t)`` (DiffRec Eq. 11 and 12).

        Of the prediction and its target in units of ``output_scale`` (Karras et al. 2022, Eq. 8).

        Args:
            x_start: shape ``(B, n)``.
            guidance: as of ``training_example``, or None for the null guidance.
            t: steps, shape ``(B,)``.
            noise: standard normal, shape ``(B, n)``, used up: ``x_t`` may be put in its place. None draws it.

        Returns:
            shape ``(B,)``.
        """
        x_t, target = self._noised(x_start, t, noise)
        if isinstance(target, SparseRows):
            target = replace(target, values=target.values / self.denoiser.output_scale)
        features = self._features(x_t, t, self.denoiser.encode(guidance))
        errors = self._squared_errors(features, target) / self.n_items
        return self.loss_weights[t].to(errors.dtype) * errors

    def _squared_errors(self, features: torch.Tensor, target: SparseRows | torch.Tensor) -> torch.Tensor:
        """Of the output layer on the last hidden layer, of shape ``(B, k)``, for each user, shape ``(B,)``."""
        layer = self.denoiser.output_layer
        return diffusion.squared_errors(features, layer.weight, layer.bias, target)

    def _noised(
        self, x_start: SparseRows, t: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[SparseRows | torch.Tensor, SparseRows | torch.Tensor]:
        """``x_t`` and what the denoiser is to predict from it, both of shape ``(B, n)``."""
        if self.mean_type == "x0" and self.schedule.noiseless:
            return x_start, x_start
        if noise is None:
            noise = torch.randn(x_start.shape, dtype=self.denoiser.input_bias.dtype, device=self.device)
        if self.mean_type == "x0":
            return self.schedule.q_sample(x_start, t, noise, out=noise), x_start
        return self.schedule.q_sample(x_start, t, noise), noise

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """Mean importance-weighted loss of a batch of users, a scalar (RecBole's training step)."""
        x_start, guidance = self.training_example(interaction[self.USER_ID])
        t, importance = self.timestep_sampler.sample(len(x_start))
        losses = self.losses(x_start, guidance, t)
        self.timestep_sampler.update(t, losses)
        return (losses / importance).mean()

    def load_recbole_weights(self, state_dict: dict[str, torch.Tensor]) -> None:
        """Take over the weights of RecBole's DiffRec of the same shape.

        Args:
            state_dict: ``state_dict()`` of a ``recbole.model.general_recommender.DiffRec``.

        Raises:
            RuntimeError: if the shapes differ.
        """
        prefix = "mlp.mlp_layers.mlp_layers."
        layers = sorted({int(key[len(prefix) :].split(".")[0]) for key in state_dict if key.startswith(prefix)})
        names = ["input_layer", *(f"hidden_layers.{i}" for i in range(len(layers) - 2)), "output_layer"]
        weights = {
            f"{name}.{part}": state_dict[f"{prefix}{layer}.{part}"]
            for name, layer in zip(names, layers)
            for part in ("weight", "bias")
        }
        # RecBole's first layer acts on the concatenation of x_t and the step's embedding.
        of_x_t, of_step = weights.pop("input_layer.weight").tensor_split([self.n_items], dim=1)
        weights["input_layer.weight"] = of_x_t.T / self.denoiser.input_scale
        weights["time_projection.weight"] = of_step
        weights["input_bias"] = weights.pop("input_layer.bias")
        weights |= {name: weights[name] / self.denoiser.output_scale for name in weights if name.startswith("output")}
        weights["_extra_state"] = self.denoiser.get_extra_state()
        weights["time_layer.weight"] = state_dict["mlp.emb_layer.weight"]
        weights["time_layer.bias"] = state_dict["mlp.emb_layer.bias"]
        self.denoiser.load_state_dict(weights)


def automatic_scales(
    given: DiffRecHyperparameters, schedule: NoiseSchedule, mean_squared_norm: float, n_items: int
) -> tuple[float, float]:
    """``input_scale`` and ``output_scale``; ``auto`` is one over the length of ``x_t``, and the size of an entry of
    what is predicted, in the root mean square over users and steps:

        sigma^2 = mean |x_0|^2 / n,  mean |x_t|^2 = n mean_t(alphas_cumprod_t sigma^2 + 1 - alphas_cumprod_t)

    Karras et al. 2022, Eq. 7, give an entry of the input size 1; here its length is 1, as the guidance's is.
    """
    variance = mean_squared_norm / n_items
    kept = float(schedule.alphas_cumprod.mean())
    input_scale, output_scale = given.input_scale, given.output_scale
    if input_scale is None:
        input_scale = 1.0 if given.norm else (n_items * (kept * variance + 1 - kept)) ** -0.5
    if output_scale is None:
        output_scale = 1.0 if given.mean_type == "eps" else math.sqrt(variance)
    return input_scale, output_scale
