"""What is timed: scoring, training, and the loops that the hidden-space process is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from harness import Case, Prepared
from recbole.data.interaction import Interaction

from recbole_cfgdiff import diffusion, quick_start
from recbole_cfgdiff.diffusion.fast.squared_errors import direct_squared_errors
from recbole_cfgdiff.overlay.config import Config

BATCH_SIZE = 400
_SCALES = [0.25 * step for step in range(9)]
_N_PRODUCTS = 5
# Scored before each timed run: a process that was idle has to get its memory and its caches back.
_WARM_UP_USERS = 256


def _load(case: Case) -> tuple[Config, Any, Any]:
    """Configuration, training loader and trainer (with its model) of a case."""
    options = {
        "train_batch_size": BATCH_SIZE,
        "seed": 2020,
        "show_progress": False,
        "gpu_id": "",  # what is measured is the processor's time and memory
        **({} if case.steps is None else {"steps": case.steps, "dims_dnn": [case.hidden]}),
        **({} if case.guidance_scale is None else {"guidance_scale": case.guidance_scale}),
        **({"mlp_hidden_size": [case.hidden]} if case.model == "MultiVAE" else {}),
    }
    config = Config(case.model, case.dataset, config_dict=options)
    _, train_data, _, _ = quick_start.load_data(config)
    return config, train_data, quick_start.make_trainer(config, train_data)


def _users(train_data: Any) -> torch.Tensor:
    return train_data._dataset.inter_feat["user_id"].unique()


def _prepared(train_data: Any, model: Any, run: Any, warm: Any, n_flops: float | None) -> Prepared:
    users = _users(train_data)
    return Prepared(run, warm, model.n_items, len(users), len(train_data._dataset.inter_feat), n_flops)


def _scoring(
    case: Case, score_batch: Callable[[Any, torch.Tensor], None], guidance_scales: Sequence[float | None] = (None,)
) -> Prepared:
    """``score_batch(model, users)`` for all users with a history, in the batches of an evaluation, at each scale; None
    leaves the model's own."""
    config, train_data, trainer = _load(case)
    model = trainer.model
    batches = _users(train_data).split(max(1, config["full_sort_eval_batch_size"] // model.n_items))

    @torch.no_grad()
    def score_all(batches: Sequence[torch.Tensor]) -> None:
        model.eval()
        with getattr(model, "fixed_weights", nullcontext)():  # as in an evaluation
            for guidance_scale in guidance_scales:
                if guidance_scale is not None:
                    model.guidance_scale = guidance_scale
                for users in batches:
                    score_batch(model, users)

    def warm() -> None:
        score_all([batches[0][:_WARM_UP_USERS]])

    n_flops = _score_flops(case, train_data, model) if case.task == "score" else None
    return _prepared(train_data, model, lambda: score_all(batches), warm, n_flops)


def _full_sort(model: Any, users: torch.Tensor) -> None:
    model.full_sort_predict(Interaction({"user_id": users}))


def score(case: Case) -> Prepared:
    """Scores of all items, as the trainer asks for them."""
    return _scoring(case, _full_sort)


def _score_flops(case: Case, train_data: Any, model: Any) -> float | None:
    """Multiplications and additions of the hidden-space process; None for other models."""
    if not hasattr(model, "denoiser"):
        return None
    n, h, users = model.n_items, case.hidden, len(_users(train_data))
    steps = case.steps or 0
    entries = len(train_data._dataset.inter_feat)
    encoder = model.denoiser.guidance_encoder
    of_guidance = 0 if encoder is None else users * sum(p.numel() for p in encoder.parameters() if p.shape[0] != n)
    of_history = entries * (h + (0 if encoder is None else next(encoder.parameters()).shape[1]))
    return 2.0 * (h * h * n + users * ((steps - 1) * h * h + h * n) + of_history + of_guidance)


def sweep(case: Case) -> Prepared:
    """``score`` for all of nine guidance scales, in one call a batch."""

    def score_batch(model: Any, users: torch.Tensor) -> None:
        for _ in model.guidance_sweep(model.histories.select(users), _SCALES):
            pass

    return _scoring(case, score_batch)


def nine_scores(case: Case) -> Prepared:
    """``score`` once for each of the nine guidance scales, all with the same products of the weights."""
    return _scoring(case, _full_sort, _SCALES)


class _DenseNetwork:
    """CFGDiffRec's denoiser as plain dense layers, for predictions of ``x_0``."""

    def __init__(self, model: Any) -> None:
        denoiser, encoder = model.denoiser, model.denoiser.guidance_encoder
        self.denoiser = denoiser
        self.w_x = denoiser.input_layer.weight.T.contiguous()
        self.w_g = encoder.layers[0].weight.T.contiguous()
        self.encoder = encoder

    def encode(self, guidance: torch.Tensor) -> torch.Tensor:
        return self.encoder.projection(self.encoder.layers[1](F.linear(F.normalize(guidance), self.w_g)))

    def project(self, x_t: torch.Tensor) -> torch.Tensor:
        return F.linear(x_t, self.w_x)

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, guidance: torch.Tensor) -> torch.Tensor:
        first = self.project(x_t) + self.denoiser.step_bias(t) + self.encode(guidance)
        return self.denoiser.output_layer(self.denoiser.activations(first))


def dense_plain(case: Case) -> Prepared:
    """The guided loop as it is usually written: two passes of the whole network a step."""

    scale = case.guidance_scale or 0.0

    def predict(network: _DenseNetwork, x_t: torch.Tensor, t: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        unguided = network(x_t, t, torch.zeros_like(history))
        return unguided + scale * (network(x_t, t, history) - unguided)

    return _dense(case, lambda network, history: lambda x_t, t: predict(network, x_t, t, history))


def dense_shared(case: Case) -> Prepared:
    """The same loop, where the branches share what they can: encoded guidance, first product, output layer."""

    scale = case.guidance_scale or 0.0

    def predictor(network: _DenseNetwork, history: torch.Tensor) -> Any:
        code = network.encode(history)

        def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            first = network.project(x_t) + network.denoiser.step_bias(t)
            unguided, guided = (network.denoiser.activations(layer) for layer in (first, first + code))
            return network.denoiser.output_layer(torch.lerp(unguided, guided, scale))

        return predict

    return _dense(case, predictor)


def _dense(case: Case, predictor: Any) -> Prepared:
    """The reverse process over the items, written out; the weights are put into the layout of dense layers once."""
    networks: list[_DenseNetwork] = []

    def score_batch(model: Any, users: torch.Tensor) -> None:
        if not networks:
            networks.append(_DenseNetwork(model))
        coefficients = list(zip(*(c.tolist() for c in model.schedule.step_coefficients("x0"))))
        x_t = model.histories.select(users).dense()
        predict = predictor(networks[0], x_t)
        for step in reversed(range(model.schedule.steps)):
            alpha, beta = coefficients[step]
            prediction = predict(x_t, torch.tensor([step]))
            x_t = beta * prediction + alpha * x_t if alpha else prediction

    return _scoring(case, score_batch)


def train(case: Case) -> Prepared:
    """One epoch of training; a first one, which makes the optimiser's state, is not timed."""
    _, train_data, trainer = _load(case)

    def run() -> None:
        trainer._train_epoch(train_data, 0)

    run()
    n_flops = _train_flops(case, train_data, trainer.model)
    return _prepared(train_data, trainer.model, run, lambda: None, n_flops)


def train_direct(case: Case) -> Prepared:
    """``train`` without the expanded square."""
    diffusion.squared_errors = direct_squared_errors
    return train(case)


def _train_flops(case: Case, train_data: Any, model: Any) -> float | None:
    """Multiplications and additions of an epoch's matrix products; None for other models.

    Of the input layer the product and its weight's gradient, of the output layer also the features' gradient; or with
    the expanded square, twice ``h x h x n`` a batch.
    """
    if not hasattr(model, "denoiser"):
        return None
    users = len(_users(train_data))
    n, h = model.n_items, case.hidden
    of_output = min(3 * users * n * h, -(-users // BATCH_SIZE) * 2 * n * h * h)
    return 2.0 * (2 * users * n * h + of_output)


def matmul(case: Case) -> Prepared:
    """Square float32 matrix products of the case's width: the machine's rate."""
    a, b = torch.randn(2, case.hidden, case.hidden)

    def run() -> None:
        for _ in range(_N_PRODUCTS):
            torch.mm(a, b)

    return Prepared(run, run, 0, 0, 0, n_flops=_N_PRODUCTS * 2.0 * case.hidden**3)
