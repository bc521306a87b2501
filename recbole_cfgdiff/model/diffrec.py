"""DiffRec (Wang et al., "Diffusion Recommender Model", SIGIR 2023) as a RecBole model."""

from __future__ import annotations

import math
from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import nn

from recbole_cfgdiff import diffusion
from recbole_cfgdiff.diffusion.denoiser import ACTIVATIONS
from recbole_cfgdiff.diffusion.schedule import MEAN_TYPES, NOISE_SCHEDULES
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model.histories import Histories
from recbole_cfgdiff.model.options import read_choice, read_flag, read_integer, read_number, read_sizes


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

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.histories = _read_histories(config, dataset).to(self.device)
        self.mean_type = read_choice(config, "mean_type", MEAN_TYPES)
        self.reweight = read_flag(config, "reweight")
        self.sampling_noise = read_flag(config, "sampling_noise")
        self.schedule = _read_schedule(config, self.mean_type)
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
        self.denoiser = diffusion.Denoiser(
            n_items=self.n_items,
            dims_dnn=dims_dnn,
            embedding_size=self._time_embedding_size(config),
            mlp_act_func=read_choice(config, "mlp_act_func", ACTIVATIONS),
            norm=read_flag(config, "norm"),
            dropout_prob=read_number(config, "dropout_prob", 0, 1),
            guidance_encoder=self._make_guidance_encoder(config, dims_dnn[0]),
        )

    def _time_embedding_size(self, config: Any) -> int:
        return read_integer(config, "embedding_size", minimum=1)

    def _make_guidance_encoder(self, config: Any, output_size: int) -> nn.Module | None:
        return None

    def training_example(self, users: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What is trained on.

        Args:
            users: ids, shape ``(B,)``.

        Returns:
            ``x_start`` of shape ``(B, n)`` and the guidance, of shape ``(B, n)`` or None for a model without.
        """
        return self.histories.dense(users), None

    def inference_start(self, history: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Where the reverse process starts: the history itself, or noised for ``sampling_steps`` steps.

        Args:
            history: shape ``(B, n)``.

        Returns:
            ``x_T`` of shape ``(B, n)`` and the guidance, of shape ``(B, n)`` or None.
        """
        if self.sampling_steps == 0:
            return history, None
        t = torch.tensor([self.sampling_steps - 1], device=history.device)
        return self.schedule.q_sample(history, t, torch.randn_like(history)), None

    def losses(
        self, x_start: torch.Tensor, guidance: torch.Tensor | None, t: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        """Weighted loss of each user, before the division by ``T p(t)``.

        Args:
            x_start: shape ``(B, n)``.
            guidance: shape ``(B, n)`` or None.
            t: steps, shape ``(B,)``.
            noise: standard normal, shape ``(B, n)``.

        Returns:
            shape ``(B,)``.
        """
        x_t = self.schedule.q_sample(x_start, t, noise)
        prediction = self.denoiser(x_t, t, guidance)
        return diffusion.denoising_losses(
            self.schedule, self.mean_type, self.reweight, prediction, x_start, x_t, t, noise
        )

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        """Mean importance-weighted loss of a batch of users, a scalar (RecBole's training step)."""
        x_start, guidance = self.training_example(interaction[self.USER_ID])
        t, importance = self.timestep_sampler.sample(len(x_start))
        losses = self.losses(x_start, guidance, t, torch.randn_like(x_start))
        self.timestep_sampler.update(t, losses)
        return (losses / importance).mean()

    def score(self, history: torch.Tensor) -> torch.Tensor:
        """Scores of all items for any histories, also of users whom the data set does not know.

        Args:
            history: float, 1 at the internal ids (``dataset.token2id``) of a user's items and 0 elsewhere, shape
                ``(B, n)`` with ``n = dataset.item_num``.

        Returns:
            shape ``(B, n)``, higher is better; the history's own items are not left out.
        """
        x_T, guidance = self.inference_start(history)

        def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return diffusion.guided_prediction(self.denoiser, x_t, t, guidance, self.guidance_scale)

        return diffusion.reverse_process(self.schedule, self.mean_type, predict, x_T, self.sampling_noise)

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """Scores of all items for the users of ``interaction``, shape ``(B, n)``."""
        return self.score(self.histories.dense(interaction[self.USER_ID]))

    def predict(self, interaction: Any) -> torch.Tensor:
        """Scores of the user-item pairs of ``interaction``, shape ``(B,)``; each user is scored once."""
        users, row = interaction[self.USER_ID].unique(return_inverse=True)
        items = interaction[self.ITEM_ID]
        scores = torch.empty(len(items), device=items.device)
        for start in range(0, len(users), self.predict_users):
            chunk = self.score(self.histories.dense(users[start : start + self.predict_users]))
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
        first = weights["input_layer.weight"]
        weights["input_layer.weight"], weights["time_projection.weight"] = first.tensor_split([self.n_items], dim=1)
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
    betas = diffusion.make_betas(
        noise_schedule=read_choice(config, "noise_schedule", NOISE_SCHEDULES),
        steps=read_integer(config, "steps", minimum=1),
        noise_scale=read_number(config, "noise_scale", 0),
        noise_min=read_number(config, "noise_min", 0),
        noise_max=read_number(config, "noise_max", 0),
        beta_fixed=read_flag(config, "beta_fixed"),
    )
    schedule = diffusion.NoiseSchedule(betas)
    if mean_type == "eps" and not math.isfinite(float(1 / schedule.alphas_cumprod[-1])):
        raise ConfigError("betas out of range: with mean_type eps every beta must be below 1, or x_0 is lost")
    return schedule
