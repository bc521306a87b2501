"""``serve``: a trained model as a service over HTTP."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path

from recbole_cfgdiff.commands.arguments import add_plugins, import_given_plugins, no_further_options, path
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.serving.app import make_app
from recbole_cfgdiff.serving.limits import Limits
from recbole_cfgdiff.serving.server import LOOPBACK, listen, serve

_TOKEN = "RECBOLE_CFGDIFF_TOKEN"
_MOST_TOKEN = 4096  # bytes of the file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("--model", "--checkpoint", type=path, help="an exported model, or a run's folder (saved/RUN)")
    add_plugins(parser)
    parser.add_argument("--host", default="localhost", help="where to listen; 0.0.0.0: on all networks (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0: one that is free (%(default)s)")
    parser.add_argument(
        "--token", help=f"which requests must bear; better in a file or in {_TOKEN}, which no list of processes shows"
    )
    parser.add_argument("--token-file", type=path, help="a file with the token")
    limits = parser.add_argument_group("limits")
    for limit in fields(Limits):
        limits.add_argument(
            f"--max-{limit.name}", type=int, default=limit.default, help=f"{limit.metadata['what']} (%(default)s)"
        )


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """Serve until a signal comes."""
    no_further_options(rest)
    if known.model is None:
        raise ConfigError("model: none given; add --model=FOLDER, of an exported model or of a run (saved/RUN)")
    limits = Limits(**{limit.name: getattr(known, f"max_{limit.name}") for limit in fields(Limits)})
    token = _token(known.token, known.token_file)
    import_given_plugins(known)
    with listen(known.host, known.port) as listener:
        is_local = known.host in ("::1", *LOOPBACK)
        app = make_app(Recommender.load(known.model), limits, token, LOOPBACK if is_local and not token else None)
        if not is_local and not token:
            print("everybody who reaches this machine can ask; --token-file=FILE lets in who has the token", flush=True)
        name = f"[{known.host}]" if ":" in known.host else known.host
        print(f"http://{name}:{listener.getsockname()[1]}/ serves {known.model}; Ctrl-C ends it", flush=True)
        serve(app, listener)
    print("ended; every request under way was answered")


def _token(given: str | None, file: Path | None) -> str | None:
    """The token, from wherever it is given; None without.

    Raises:
        ConfigError: if it is given twice, or is none.
    """
    sources = {"--token": given, "--token-file": _content(file), _TOKEN: os.environ.get(_TOKEN)}
    tokens = {source: token for source, token in sources.items() if token is not None}
    if len(tokens) > 1:
        raise ConfigError(f"token: expected one, got it by {' and by '.join(tokens)}")
    for source, token in tokens.items():
        if not token.isascii() or not token.isprintable() or not token or " " in token:
            raise ConfigError(f"{source}: expected a token of printable ASCII characters without spaces")
        return token
    return None


def _content(file: Path | None) -> str | None:
    if file is None:
        return None
    with file.open("rb") as opened:
        content = opened.read(_MOST_TOKEN + 1)
    if len(content) > _MOST_TOKEN:
        raise ConfigError(f"--token-file: expected at most {_MOST_TOKEN:,} bytes in {file}")
    return content.decode("utf-8", "replace").strip()
