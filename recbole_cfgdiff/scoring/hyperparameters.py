"""The models' hyperparameters: a row each, read and checked before a network is built.

Defaults are RecBole's DiffRec's where no other source is named. Sources: [DDPM] Ho et al. 2020. [DiffRec] Wang et al.
2023. [paper] Buchanan, Gauch & Mai. [CFG] Ho & Salimans 2022. [EDM] Karras et al. 2022.
[DDIM] Song et al. 2021. ``properties/model/`` repeats
the rows as YAML; ``yaml_lines`` writes its lines.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from recbole_cfgdiff.diffusion.denoiser import ACTIVATIONS
from recbole_cfgdiff.diffusion.encoders import GUIDANCE_ENCODERS
from recbole_cfgdiff.diffusion.samplers import SAMPLERS
from recbole_cfgdiff.diffusion.schedule import MEAN_TYPES, NOISE_SCHEDULES
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.options import AutoOrNumber, Choice, Flag, Integer, Kind, Number, Numbers, OrNone, Sizes

Declared = TypeVar("Declared", bound="Hyperparameters")


class Row(NamedTuple):
    """A hyperparameter as it is declared."""

    name: str  # of the option
    kind: Kind
    default: Any  # as in a YAML file
    meaning: str
    source: str  # empty where the meaning says all there is

    @property
    def comment(self) -> str:
        """Meaning and source in a line."""
        return f"{self.meaning} {self.source}".rstrip()


def hyperparameter(default: Any, kind: Kind, meaning: str, *, source: str = "", option: str = "") -> Any:
    """A field of a class of hyperparameters.

    Args:
        default: as in a YAML file, such as ``'auto'``.
        kind: its values.
        meaning: a sentence or two.
        source: who chose it, and where that is written.
        option: its name where a field can't have it, such as ``time-aware``.
    """
    return dataclasses.field(
        default_factory=lambda: default, metadata={"row": Row(option, kind, default, meaning, source)}
    )


def changed(base: type[Hyperparameters], name: str, default: Any, kind: Kind | None = None) -> Any:
    """The field ``name`` of ``base`` with another default, or of a narrower kind."""
    row = next(row for field, row in _fields(base) if field == name)
    return dataclasses.field(
        default_factory=lambda: default,
        metadata={"row": row._replace(default=default, kind=kind or row.kind)},
    )


def shared(base: type[Hyperparameters], name: str) -> Any:
    """The field ``name`` of ``base``, for a class that does not derive from it."""
    row = next(row for field, row in _fields(base) if field == name)
    return changed(base, name, row.default)


@dataclass(frozen=True)
class Hyperparameters:
    """Base of the models' hyperparameters. An instance has passed all checks.

    Rules between hyperparameters stand in ``check``.

    Raises:
        ConfigError: on a value that is not of its kind, or against a rule.
    """

    @classmethod
    def read(cls: type[Declared], config: Any) -> Declared:
        """Those of a configuration, or of another mapping from the options' names.

        Raises:
            ConfigError: as of the class.
        """
        return cls(**{field: config[row.name] for field, row in _fields(cls)})

    def __post_init__(self) -> None:
        for field, row in _fields(type(self)):
            object.__setattr__(self, field, row.kind.read(row.name, getattr(self, field)))
        self.check()

    def check(self) -> None:
        """Check the rules between hyperparameters.

        Raises:
            ConfigError: if one is broken.
        """


def rows(declared: type[Hyperparameters]) -> list[Row]:
    """The rows of a class and of those that it derives from, in the order in which they are declared."""
    return [row for _, row in _fields(declared)]


def _fields(declared: type[Hyperparameters]) -> Iterator[tuple[str, Row]]:
    """Names of the fields with their rows.

    Raises:
        TypeError: if the class is not declared as those here are.
    """
    fields = dataclasses.fields(declared)
    if lost := sorted(set(vars(declared).get("__annotations__", ())) - {field.name for field in fields}):
        raise TypeError(f"{declared.__name__}: {lost[0]} is no field; decorate the class by @dataclass(frozen=True)")
    for field in fields:
        row = field.metadata.get("row")
        if row is None:
            raise TypeError(f"{declared.__name__}.{field.name}: make the field by hyperparameter(...) or changed(...)")
        yield field.name, row._replace(name=row.name or field.name)


def yaml_lines(declared: type[Hyperparameters]) -> dict[str, str]:
    """The line of each hyperparameter in the YAML file of a model, by name: of those that the class adds, and of those
    whose default it changes, which are not explained again."""
    before = {row.name: row for row in rows(declared.__mro__[1])}
    lines = {}
    for row in rows(declared):
        if row.name not in before or before[row.name].default != row.default:
            comment = row.comment if row.name not in before else ""
            value = f"{row.name}: {_as_yaml(row.default)}"
            lines[row.name] = f"{value:<31} # ({_yaml_type(row.kind)}) {comment}".rstrip()
    return lines


_YAML_TYPES: dict[type, str] = {
    Flag: "bool",
    Integer: "int",
    Number: "float",
    AutoOrNumber: "float or str",
    Numbers: "list of float",
    Choice: "str",
    Sizes: "list of int",
}


def _yaml_type(kind: Kind) -> str:
    return _YAML_TYPES[type(kind.kind if isinstance(kind, OrNone) else kind)]


def _as_yaml(value: Any) -> str:
    if value is None:
        return "~"
    return repr(value) if isinstance(value, (str, bool)) else json.dumps(value)


@dataclass(frozen=True)
class DiffRecHyperparameters(Hyperparameters):
    """Of ``DiffRec``."""

    noise_schedule: str = hyperparameter(
        "linear", Choice(NOISE_SCHEDULES), "How the noise grows over the steps: linear, linear-var, cosine or binomial."
    )
    noise_scale: float = hyperparameter(
        0.001, Number(0), "Factor of noise_min and noise_max; 0: no noise at all.", source="[DiffRec] Eq. 4"
    )
    noise_min: float = hyperparameter(
        0.0005, Number(0), "Lower end of the linear schedules, before scaling.", source="[DiffRec] Eq. 4"
    )
    noise_max: float = hyperparameter(
        0.005, Number(0), "Upper end of the linear schedules, before scaling.", source="[DiffRec] Eq. 4"
    )
    beta_fixed: bool = hyperparameter(True, Flag(), "Fix the first step's variance at 1e-5, against overfitting.")
    steps: int = hyperparameter(5, Integer(1), "Number of diffusion steps T, at least 1.")
    mean_type: str = hyperparameter(
        "x0",
        Choice(MEAN_TYPES),
        "What the network predicts: x0 (the clean history) or eps (the noise).",
        source="[DDPM]",
    )
    sampling_steps: int = hyperparameter(
        0, Integer(0), "Noise the history for so many steps before inference; 0: start from it as it is."
    )
    sampling_noise: bool = hyperparameter(
        False, Flag(), "Draw from the posterior at each step of inference instead of taking its mean."
    )
    sampler: str = hyperparameter(
        "ddpm",
        Choice(SAMPLERS),
        "Steps of inference: ddpm (the posterior's mean) or ddim (x_0 and the noise, both as predicted).",
        source="[DDPM] Eq. 7; [DDIM] Eq. 12",
    )
    sampling_timesteps: int | None = hyperparameter(
        None,
        OrNone(Integer(1)),
        "Inference takes so many of the steps, evenly spaced back from the last; ~: all.",
        source="Nichol & Dhariwal 2021, Sec. 4",
    )
    reweight: bool = hyperparameter(
        True, Flag(), "Weight the loss of each step as the likelihood does.", source="[DiffRec] Eq. 11, 12"
    )
    history_num_per_term: int = hyperparameter(
        10, Integer(1), "Latest losses of each step that its sampling probability is computed from."
    )
    dims_dnn: list[int] = hyperparameter([300], Sizes(), "Widths of the hidden layers.")
    embedding_size: int = hyperparameter(10, Integer(1), "Width of the step's embedding.")
    mlp_act_func: str = hyperparameter(
        "tanh", Choice(ACTIVATIONS), "Activation of the hidden layers: tanh, sigmoid, relu, leakyrelu or none."
    )
    norm: bool = hyperparameter(False, Flag(), "L2-normalise the denoiser's input.")
    dropout_prob: float = hyperparameter(
        0.5, Number(0, 1), "Dropout on the denoiser's input; fixed at 0.5 in RecBole's DiffRec."
    )
    input_scale: float | None = hyperparameter(
        1.0,
        AutoOrNumber(),
        "Factor of the input; auto: gives it length 1.",
        source="docs/method.md, 'Sizes'; after [EDM] Eq. 7",
    )
    output_scale: float | None = hyperparameter(
        1.0,
        AutoOrNumber(),
        "Factor of the output layer; auto: the size of its target.",
        source="docs/method.md, 'Sizes'; after [EDM] Eq. 7, 8",
    )
    torch_compile: bool = hyperparameter(
        False,
        Flag(),
        "Compile the denoiser's training step by torch.compile; needs a C++ compiler.",
        source="Ours",
    )
    time_aware: bool = hyperparameter(
        False, Flag(), "Weight a history's items by recency.", source="[DiffRec] Sec. 3.3", option="time-aware"
    )
    w_max: float = hyperparameter(1, Number(0), "Weight of the latest item.")
    w_min: float = hyperparameter(0.1, Number(0), "Weight of the earliest item.")

    def check(self) -> None:
        """As of any."""
        if self.sampling_steps > self.steps:
            raise ConfigError(f"sampling_steps: expected at most steps ({self.steps}), got {self.sampling_steps}")
        if self.sampling_timesteps is not None and self.sampling_timesteps > self.steps:
            raise ConfigError(
                f"sampling_timesteps: expected at most steps ({self.steps}), got {self.sampling_timesteps}"
            )
        if self.sampler == "ddim" and self.sampling_noise:
            raise ConfigError("sampling_noise: ddim takes no noise; set sampler to ddpm or sampling_noise to False")
        if self.mean_type == "eps" and self.output_scale not in (None, 1):
            raise ConfigError(
                f"output_scale: expected 1 with mean_type eps, noise being of size 1, got {self.output_scale:g}"
            )


@dataclass(frozen=True)
class CFGDiffRecHyperparameters(DiffRecHyperparameters):
    """Of ``CFGDiffRec``."""

    p_uncond: float = hyperparameter(
        0.2, Number(0, 1), "Share of the users trained without guidance, in [0, 1].", source="[paper] Sec. V"
    )
    guidance_scale: float = hyperparameter(
        1.0,
        Number(),
        "0: unguided scores, 1: guided, above 1: extrapolated.",
        source="[CFG] Eq. 6, w + 1; chosen in docs/guidance_scale.md",
    )
    guidance_scales: list[float] = hyperparameter(
        None,
        Numbers(),
        "After training, guidance_scale becomes the one of these, or itself, with the best validation metric; ~: no "
        "choice.",
        source="Ours",
    )
    guidance_encoder: str = hyperparameter(
        "embedding",
        Choice(GUIDANCE_ENCODERS),
        "raw: the normalised history, concatenated; embedding: two smaller linear layers first; sequence: read in "
        "order.",
        source="[paper] Sec. III-B, IV-B; chosen in docs/guidance_encoder.md",
    )
    guidance_embedding_size: int = hyperparameter(
        100, Integer(1), "Width of those layers; not given in the paper.", source="Ours"
    )
    time_embedding: bool = hyperparameter(True, Flag(), "Tell the denoiser the step.")


@dataclass(frozen=True)
class ForwardCFGDiffRecHyperparameters(CFGDiffRecHyperparameters):
    """Of ``ForwardCFGDiffRec``; docs/method.md derives and measures them."""

    cut_min: float = hyperparameter(
        0.5, Number(0, 1), "Least share of a history that is the past, which guides, in [0, 1]."
    )
    cut_max: float = hyperparameter(
        0.95, Number(0, 1), "Largest share, in [cut_min, 1]; the rest is the future, which is diffused."
    )
    p_shuffle: float = hyperparameter(
        0.2,
        Number(0, 1),
        "Probability, for each user of each batch, that the history is put into random order before the cut.",
    )
    recency_powers: list[float] = hyperparameter(
        [0.5, 1.5],
        Numbers(),
        "For each r the guidance holds the past once, its d-th latest item weighted by d^-r.",
    )
    user_weight_power: float = hyperparameter(
        0.5, Number(0), "Weight of a user with m items in the future: m^-user_weight_power."
    )
    item_weight_power: float = hyperparameter(
        0.3, Number(0), "Weight of an item with c interactions: (c / mean c)^-item_weight_power."
    )
    ema_decay: float = hyperparameter(
        0.99, Number(0, 1), "Scores come from the weights' moving average, of this decay a step; 0: no average."
    )

    p_uncond: float = changed(CFGDiffRecHyperparameters, "p_uncond", 0.05)
    guidance_encoder: str = changed(CFGDiffRecHyperparameters, "guidance_encoder", "raw")
    # Much noise in all steps but the first, so that the guidance has to tell what x_t does not.
    noise_schedule: str = changed(DiffRecHyperparameters, "noise_schedule", "linear-var")
    noise_scale: float = changed(DiffRecHyperparameters, "noise_scale", 1)
    noise_min: float = changed(DiffRecHyperparameters, "noise_min", 0.1)
    noise_max: float = changed(DiffRecHyperparameters, "noise_max", 0.999)
    reweight: bool = changed(DiffRecHyperparameters, "reweight", False)
    dims_dnn: list[int] = changed(DiffRecHyperparameters, "dims_dnn", [1000])
    dropout_prob: float = changed(DiffRecHyperparameters, "dropout_prob", 0.0)
    input_scale: float | None = changed(DiffRecHyperparameters, "input_scale", "auto")
    output_scale: float | None = changed(DiffRecHyperparameters, "output_scale", "auto")
    # The mean of the noise says nothing of the noise, so that there is nothing to start from with eps.
    mean_type: str = changed(DiffRecHyperparameters, "mean_type", "x0", Choice(("x0",)))
    sampling_steps: int = changed(DiffRecHyperparameters, "sampling_steps", 0, Choice((0,)))

    def check(self) -> None:
        """As of any."""
        super().check()
        if self.time_aware:
            raise ConfigError("time-aware: recency_powers weight the past by recency here; set time-aware to False")
        Number(self.cut_min, 1).read("cut_max", self.cut_max)
        if not self.recency_powers:
            raise ConfigError("recency_powers: expected at least one number, such as [0.5]")
        if self.guidance_encoder == "sequence" and len(self.recency_powers) > 1:
            raise ConfigError(
                "recency_powers: guidance_encoder sequence reads the past once, in order; give one number, such as [0]"
            )


@dataclass(frozen=True)
class NextItemRidgeHyperparameters(Hyperparameters):
    """Of ``NextItemRidge``; docs/sequences.md derives them."""

    max_item_list_length: int = hyperparameter(
        200, Integer(1), "Longest sequence that is read; the latest items are.", option="MAX_ITEM_LIST_LENGTH"
    )
    recency_power: float = hyperparameter(0.8, Number(0), "Weight r of the d-th latest item: d^-r.")
    linear_decay: float = hyperparameter(
        0.9, Number(0, 1), "The k-th next item weighs linear_decay^(k - 1) in the target; 0: the next item alone."
    )
    reg_weight: float = hyperparameter(100.0, Number(0), "Ridge penalty lambda, above 0.", source="Steck 2019")
    n_neighbors: int = hyperparameter(200, Integer(1), "Largest coefficients that are kept of each item.")

    def check(self) -> None:
        """As of any."""
        _check_penalty(self.reg_weight)


def _check_penalty(reg_weight: float) -> None:
    if not reg_weight:
        raise ConfigError("reg_weight: expected a number above 0, got 0")


@dataclass(frozen=True)
class SeqCFGDiffRecHyperparameters(Hyperparameters):
    """Of ``SeqCFGDiffRec``; docs/sequences.md derives them."""

    hidden_size: int = hyperparameter(64, Integer(4), "Width of the items' vectors and of all layers.")
    n_layers: int = hyperparameter(2, Integer(0), "Blocks of the encoder.")
    n_heads: int = hyperparameter(2, Integer(1), "Heads of a block's attention; hidden_size is a multiple of twice it.")
    inner_size: int = hyperparameter(256, Integer(1), "Width of the feed-forward layers.")
    hidden_dropout_prob: float = hyperparameter(
        0.5, Number(0, 1), "Dropout on the embedded items and in the blocks: much on sparse data, 0.1 to 0.2 on ML-1M."
    )
    attn_dropout_prob: float = hyperparameter(0.0, Number(0, 1), "Dropout on the attention's weights.")
    initializer_range: float = hyperparameter(0.02, Number(0), "Deviation of the weights at the start.")
    max_item_list_length: int = shared(NextItemRidgeHyperparameters, "max_item_list_length")
    n_next: int = hyperparameter(1, Integer(1), "K: how many of the next items are diffused.")
    distance_decay: float = hyperparameter(
        0.85, Number(0, 1), "The k-th next item weighs distance_decay^(k - 1) in the loss."
    )
    steps: int = hyperparameter(
        1, Integer(1), "Steps T: at step t an item is hidden with probability t / T.", source="Austin et al. 2021"
    )
    n_negatives: int | None = hyperparameter(
        None,
        OrNone(Integer(1)),
        "So many items, drawn for each step, stand for all in the softmax of the loss; ~: all themselves.",
        source="Bengio & Senecal 2008",
    )
    p_uncond: float = hyperparameter(
        0.1, Number(0, 1), "Share of the users trained without guidance, in [0, 1].", source="[CFG]"
    )
    guidance_scale: float = hyperparameter(
        1.0, Number(), "0: unguided scores, 1: guided, above 1: extrapolated.", source="[CFG] Eq. 6, w + 1"
    )
    guidance_scales: list[float] = hyperparameter(
        None,
        Numbers(),
        "After training, guidance_scale becomes the one of these, or itself, with the best validation metric; ~: no "
        "choice.",
    )
    linear_weight: float = hyperparameter(
        200.0, Number(0), "Factor of the linear part's scores, which are added to the logits; 0: no linear part."
    )
    recency_power: float = shared(NextItemRidgeHyperparameters, "recency_power")
    linear_decay: float = shared(NextItemRidgeHyperparameters, "linear_decay")
    reg_weight: float = shared(NextItemRidgeHyperparameters, "reg_weight")
    n_neighbors: int = shared(NextItemRidgeHyperparameters, "n_neighbors")
    ema_decay: float = hyperparameter(
        0.999, Number(0, 1), "Scores come from the weights' moving average, of this decay a step; 0: no average."
    )

    def check(self) -> None:
        """As of any."""
        if self.hidden_size % (2 * self.n_heads):
            raise ConfigError(
                f"hidden_size: expected a multiple of 2 * n_heads ({2 * self.n_heads}), got {self.hidden_size}"
            )
        if self.n_next == 1 and self.steps > 1:
            raise ConfigError("steps: of one next item there is nothing to show; set steps to 1, or n_next above 1")
        _check_penalty(self.reg_weight)
