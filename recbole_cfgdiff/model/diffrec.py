"""DiffRec (Wang et al., "Diffusion Recommender Model", SIGIR 2023) as a RecBole model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from logging import getLogger
from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import nn

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.data.histories import Histories, trained_users
from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.diffusion.denoiser import ACTIVATIONS
from recbole_cfgdiff.diffusion.schedule import MEAN_TYPES, NOISE_SCHEDULES
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model.hyperparameters import DiffRecHyperparameters
from recbole_cfgdiff.model.options import read_choice, read_flag, read_integer, read_number, read_scale, read_sizes

# Of histories whose weights are all 0, for an automatic scale that is a number.
_LEAST_SQUARED_NORM = 1e-6


class DiffRec(GeneralRecommender):
    """Denoises users' noised histories; the denoised vector is the ranking.

    Hyperparameters carry the names of RecBole's DiffRec; ``properties/model/DiffRec.yaml`` explains each. Loaded with
    the weights of RecBole's DiffRec (``load_recbole_weights``) it gives the same scores.

    Variants override ``training_example`` (what is diffused, and under which guidance) and ``inference_start`` (where
    the reverse process begins).

    Args:
        config: RecBole's configuration.
        dataset: the training part of the data set.

    Raises:
        ConfigError: on a hyperparameter out of its range.
    """

    input_type = InputType.LISTWISE
    hyperparameters_class = DiffRecHyperparameters
    loss_weights: torch.Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.histories = _read_histories(config, dataset).to(self.device)
        self.mean_type = read_choice(config, "mean_type", MEAN_TYPES)
        self.sampling_noise = read_flag(config, "sampling_noise")
        self.schedule = _read_schedule(config, self.mean_type)
        weights = self.schedule.loss_weights(self.mean_type)
        weights = weights if read_flag(config, "reweight") else torch.ones_like(weights)
        self.register_buffer("loss_weights", weights, persistent=False)
        self.sampling_steps = read_integer(config, "sampling_steps", minimum=0)
        if self.sampling_steps > self.schedule.steps:
            raise ConfigError(
                f"sampling_steps: expected at most steps ({self.schedule.steps}), got {self.sampling_steps}"
            )
        self.guidance_scale = 0.0
        # How many users `predict` scores at once, so that sampled evaluation never holds users x items.
        self.predict_users = max(1, read_integer(config, "full_sort_eval_batch_size", minimum=1) // self.n_items)
        self.timestep_sampler = diffusion.TimestepSampler(
            self.schedule.steps, read_integer(config, "history_num_per_term", minimum=1)
        )
        dims_dnn = read_sizes(config, "dims_dnn")
        input_scale, output_scale = self._read_scales(config, dataset)
        self.denoiser = diffusion.Denoiser(
            n_items=self.n_items,
            dims_dnn=dims_dnn,
            embedding_size=self._time_embedding_size(config),
            mlp_act_func=read_choice(config, "mlp_act_func", ACTIVATIONS),
            norm=read_flag(config, "norm"),
            dropout_prob=read_number(config, "dropout_prob", 0, 1),
            guidance_encoder=self._make_guidance_encoder(config, dims_dnn[0]),
            output_scale=output_scale,
            input_scale=input_scale,
        )
        if read_flag(config, "torch_compile"):
            self.denoiser.features = torch.compile(self.denoiser.features)  # type: ignore[method-assign]
        self.runs_in_hidden_space = diffusion.HiddenProcess.is_exact(
            self.mean_type, self.denoiser.norm, self.sampling_noise
        )
        self._kept_process: diffusion.HiddenProcess | None = None
        getLogger().info(f"input_scale {input_scale:.4g}, output_scale {output_scale:.4g}")
        getLogger().info(f"Inference in the space of the {'hidden units' if self.runs_in_hidden_space else 'items'}")

    def _read_scales(self, config: Any, dataset: Any) -> tuple[float, float]:
        """``input_scale`` and ``output_scale``; ``auto`` is one over the length of ``x_t``, and the size of an entry of
        what is predicted, in the root mean square over users and steps:

            sigma^2 = mean |x_0|^2 / n,  mean |x_t|^2 = n mean_t(alphas_cumprod_t sigma^2 + 1 - alphas_cumprod_t)

        Karras et al. 2022, Eq. 7, give an entry of the input size 1; here its length is 1, as the guidance's is.
        """
        variance = self._mean_squared_norm(config, dataset) / self.n_items
        kept = float(self.schedule.alphas_cumprod.mean())
        input_scale, output_scale = read_scale(config, "input_scale"), read_scale(config, "output_scale")
        if input_scale is None:
            input_scale = 1.0 if read_flag(config, "norm") else (self.n_items * (kept * variance + 1 - kept)) ** -0.5
        if output_scale is None:
            output_scale = 1.0 if self.mean_type == "eps" else math.sqrt(variance)
        if self.mean_type == "eps" and output_scale != 1:
            raise ConfigError(
                f"output_scale: expected 1 with mean_type eps, noise being of size 1, got {output_scale:g}"
            )
        return input_scale, output_scale

    def _mean_squared_norm(self, config: Any, dataset: Any) -> float:
        """Of ``x_start``, in the mean over the users who are trained on."""
        norms = self.histories.squared_norms()[trained_users(dataset)]
        return max(float(norms.mean()), _LEAST_SQUARED_NORM)

    def _time_embedding_size(self, config: Any) -> int:
        return read_integer(config, "embedding_size", minimum=1)

    def _make_guidance_encoder(self, config: Any, output_size: int) -> nn.Module | None:
        return None

    @property
    def scoring_denoiser(self) -> diffusion.Denoiser:
        """The network that scores; the one that is trained."""
        return self.denoiser

    def training_example(self, users: torch.Tensor) -> tuple[SparseRows, SparseRows | None]:
        """What is trained on.

        Args:
            users: ids, shape ``(B,)``.

        Returns:
            ``x_start`` of shape ``(B, n)`` and the guidance, of shape ``(B, n)`` or None for a model without.
        """
        return self.histories.select(users), None

    def inference_start(self, history: SparseRows) -> tuple[SparseRows | torch.Tensor, SparseRows | None]:
        """Where the reverse process starts: the history itself, or noised for ``sampling_steps`` steps.

        Args:
            history: shape ``(B, n)``.

        Returns:
            ``x_T`` of shape ``(B, n)`` and the guidance, of shape ``(B, n)`` or None.
        """
        if self.sampling_steps == 0:
            return history, None
        t = torch.tensor([self.sampling_steps - 1], device=self.device)
        return self.schedule.q_sample(history, t, self._noise(len(history))), None

    def _noise(self, n_users: int) -> torch.Tensor:
        return torch.randn(n_users, self.n_items, dtype=self.denoiser.input_bias.dtype, device=self.device)

    def losses(
        self,
        x_start: SparseRows,
        guidance: SparseRows | None,
        t: torch.Tensor,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Weighted loss of each user, before the division by ``T p(t)`` (DiffRec Eq. 11 and 12).

        Of the prediction and its target in units of ``output_scale`` (Karras et al. 2022, Eq. 8).

        Args:
            x_start: shape ``(B, n)``.
            guidance: shape ``(B, n)`` or None.
            t: steps, shape ``(B,)``.
            noise: standard normal, shape ``(B, n)``, used up: ``x_t`` may be put in its place. None draws it.

        Returns:
            shape ``(B,)``.
        """
        x_t, target = self._noised(x_start, t, noise)
        if isinstance(target, SparseRows):
            target = replace(target, values=target.values / self.denoiser.output_scale)
        features = self.denoiser.features(x_t, t, self.denoiser.encode(guidance))
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
        noise = self._noise(len(x_start)) if noise is None else noise
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

    def score(self, history: torch.Tensor | SparseRows) -> torch.Tensor:
        """Scores of all items for any histories, also of users whom the data set does not know.

        Args:
            history: 1 at the internal ids (``dataset.token2id``) of a user's items and 0 elsewhere, shape
                ``(B, n)`` with ``n = dataset.item_num``.

        Returns:
            shape ``(B, n)``, higher is better; the history's own items are not left out.
        """
        return next(self.guidance_sweep(history, [self.guidance_scale]))

    @torch.no_grad()
    def guidance_sweep(
        self, history: torch.Tensor | SparseRows, guidance_scales: Iterable[float]
    ) -> Iterator[torch.Tensor]:
        """``score`` for each guidance scale in turn; what does not depend on the scale is computed once.

        Args:
            history: as in ``score``.
            guidance_scales: any finite numbers.

        Yields:
            shape ``(B, n)``; the next may overwrite it, so that no more than one scale's scores are held.
        """
        if isinstance(history, torch.Tensor):
            history = SparseRows.of_dense(history.to(self.denoiser.input_bias))  # its device and type
        denoiser = self.scoring_denoiser
        x_T, guidance = self.inference_start(history)
        guidance_code = denoiser.encode(guidance)
        if self.runs_in_hidden_space:
            yield from self._hidden_process().scores(x_T, guidance_code, guidance_scales)
            return
        start = x_T.dense().to(self.denoiser.input_bias.dtype) if isinstance(x_T, SparseRows) else x_T
        for guidance_scale in guidance_scales:

            def predict(x_t: torch.Tensor, t: torch.Tensor, scale: float = guidance_scale) -> torch.Tensor:
                return diffusion.guided_prediction(lambda code: denoiser(x_t, t, code), guidance_code, scale)

            yield diffusion.reverse_process(self.schedule, self.mean_type, predict, start, self.sampling_noise)

    def _hidden_process(self) -> diffusion.HiddenProcess:
        """The reverse process of the present weights, kept until they change or are trained on."""
        if self._kept_process is None or not self._kept_process.is_current():
            self._kept_process = diffusion.HiddenProcess(
                self.schedule, self.mean_type, self.scoring_denoiser, self.sampling_noise
            )
        return self._kept_process

    def train(self, mode: bool = True) -> DiffRec:
        """As of any module; what inference keeps of the weights is dropped."""
        if mode:
            self._kept_process = None
        return super().train(mode)

    @torch.no_grad()
    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """Scores of all items for the users of ``interaction``, shape ``(B, n)``."""
        return self.score(self.histories.select(interaction[self.USER_ID]))

    @torch.no_grad()
    def predict(self, interaction: Any) -> torch.Tensor:
        """Scores of the user-item pairs of ``interaction``, shape ``(B,)``; each user is scored once."""
        users, row = interaction[self.USER_ID].unique(return_inverse=True)
        items = interaction[self.ITEM_ID]
        scores = torch.empty(len(items), device=items.device)
        for start in range(0, len(users), self.predict_users):
            chunk = self.score(self.histories.select(users[start : start + self.predict_users]))
            pairs = ((row >= start) & (row < start + len(chunk))).nonzero().squeeze(1)
            scores[pairs] = chunk[row[pairs] - start, items[pairs]].to(scores.dtype)
        return scores

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


def _read_histories(config: Any, dataset: Any) -> Histories:
    histories = Histories.of_dataset(dataset)
    if not read_flag(config, "time-aware"):
        return histories
    if dataset.time_field not in dataset.inter_feat:
        raise ConfigError(
            f"time-aware: the data set {dataset.dataset_name} has no column {dataset.time_field!r} to order by; "
            "load one (load_col, TIME_FIELD) or set time-aware to False"
        )
    return histories.weighted_by_recency(read_number(config, "w_min", 0), read_number(config, "w_max", 0))


def _read_schedule(config: Any, mean_type: str) -> diffusion.NoiseSchedule:
    try:
        betas = diffusion.make_betas(
            noise_schedule=read_choice(config, "noise_schedule", NOISE_SCHEDULES),
            steps=read_integer(config, "steps", minimum=1),
            noise_scale=read_number(config, "noise_scale", 0),
            noise_min=read_number(config, "noise_min", 0),
            noise_max=read_number(config, "noise_max", 0),
            beta_fixed=read_flag(config, "beta_fixed"),
        )
    except ValueError as error:  # the values that do not go together
        raise ConfigError(str(error)) from error
    schedule = diffusion.NoiseSchedule(betas)
    if mean_type == "eps" and not math.isfinite(float(1 / schedule.alphas_cumprod[-1])):
        raise ConfigError("betas out of range: with mean_type eps every beta must be below 1, or x_0 is lost")
    return schedule
