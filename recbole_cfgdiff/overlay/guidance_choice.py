"""The guidance scale chosen by validation, after training: one trained model serves all scales."""

from __future__ import annotations

from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.collector import evaluate_guidance_scales, is_full_ranking
from recbole_cfgdiff.overlay import checkpoint


class GuidanceChoice(NamedTuple):
    """What was chosen, and from what.

    Attributes:
        scale: the guidance scale with the best validation score; of equals the nearest to the model's own.
        valid_result: the validation metrics at that scale.
        curve: the validation score at each scale.
    """

    scale: float
    valid_result: dict[str, float]
    curve: dict[float, float]


def check_guidance_choice(trainer: Any, valid_data: Any) -> None:
    """Check, before training, that a model with ``guidance_scales`` can choose among them.

    Raises:
        ConfigError: if there is no validation part, or one of another kind than full ranking, or several processes.
    """
    if not wants_choice(trainer):
        return
    if not len(valid_data) or not is_full_ranking(valid_data) or not trainer.config["single_spec"]:
        raise ConfigError(
            "guidance_scales: a choice by validation needs a validation part, full ranking (mode in eval_args) and a "
            "single process; set guidance_scales to None to do without"
        )


def wants_choice(trainer: Any) -> bool:
    """Whether the trainer's model has guidance scales to choose from."""
    return bool(getattr(trainer.model, "guidance_scales", ()))


def choose_guidance_scale(trainer: Any, valid_data: Any) -> GuidanceChoice:
    """Evaluate the model, as it is, on the validation part under each of its ``guidance_scales`` and its own
    ``guidance_scale``, in one sweep, and set ``guidance_scale`` to the best."""
    model, metric = trainer.model, trainer.valid_metric
    results = evaluate_guidance_scales(trainer, valid_data, sorted({model.guidance_scale, *model.guidance_scales}))
    curve = {scale: float(result[metric]) for scale, result in results.items()}
    sign = 1 if trainer.valid_metric_bigger else -1
    scale = max(curve, key=lambda scale: (sign * curve[scale], -abs(scale - model.guidance_scale)))
    told = ", ".join(f"{each:g}: {score:.4f}" for each, score in curve.items())
    getLogger().info(f"validation {metric} by guidance scale: {told}; chosen: {scale:g}")
    model.guidance_scale = scale
    return GuidanceChoice(scale, dict(results[scale]), curve)


def store_guidance_choice(choice: GuidanceChoice, path: Path) -> None:
    """Put the choice into a checkpoint, which then loads with that guidance scale."""
    state = checkpoint.load(path)
    state["options"]["guidance_scale"] = choice.scale
    state["best_valid_result"] = choice.valid_result
    checkpoint.save(state, path)
