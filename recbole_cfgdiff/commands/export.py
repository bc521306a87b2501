"""``export``: a trained model as a folder, to be used without RecBole and the data set."""

from __future__ import annotations

import argparse

from recbole_cfgdiff.commands.arguments import add_plugins, import_given_plugins, no_further_options, path
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender import Recommender

_FORMATS = ("safetensors", "onnx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("--checkpoint", "--model", type=path, help="a run's folder (saved/RUN)")
    add_plugins(parser)
    parser.add_argument("--output", type=path, help="the folder to make")
    parser.add_argument("--without-histories", action="store_true", help="leave out what the known users have")
    parser.add_argument("--vectors", action="store_true", help="also the vectors of items and users, as Parquet")
    parser.add_argument("--format", default=_FORMATS[0], help="onnx: also as a graph, model.onnx (%(default)s)")


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """Write the folder."""
    no_further_options(rest)
    for name, example in (("checkpoint", "saved/RUN"), ("output", "my-model")):
        if getattr(known, name) is None:
            raise ConfigError(f"{name}: none given; add --{name}={example}")
    if known.format not in _FORMATS:
        raise ConfigError(f"format: expected {' or '.join(_FORMATS)}, got {known.format}")
    if known.output.exists():
        raise ConfigError(f"output: {known.output} exists already; choose another name, or remove it")
    import_given_plugins(known)
    also = [name for name, wanted in (("vectors", known.vectors), ("onnx", known.format == "onnx")) if wanted]
    Recommender.load(known.checkpoint).save_pretrained(known.output, not known.without_histories, also)
    print(f"model: {known.output}; its card, to be completed, is {known.output / 'README.md'}")
