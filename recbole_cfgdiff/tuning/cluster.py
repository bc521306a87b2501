"""Where Ray does the trials of a search: one machine or many."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.runs import interrupts
from recbole_cfgdiff.runs.pool import available_cores, search_path

_CONNECT_SECONDS = 5


@dataclass(frozen=True)
class Cluster:
    """Where Ray does the trials, and what each of them gets.

    Attributes:
        address: of a running Ray cluster, ``HOST:PORT`` or ``auto`` for the one that this machine is part of; None
            starts one of this machine alone, for the time of the search.
        cpus_per_trial: cores.
        gpus_per_trial: accelerators; a fraction shares one.
    """

    address: str | None = None
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0

    def __post_init__(self) -> None:
        if self.cpus_per_trial < 1:
            raise ConfigError(f"cpus_per_trial: expected at least 1, got {self.cpus_per_trial}")
        gpus = self.gpus_per_trial
        if not math.isfinite(gpus) or gpus < 0 or (gpus > 1 and not gpus.is_integer()):
            raise ConfigError(f"gpus_per_trial: expected a fraction of one or a whole number, got {gpus:g}")


def trials_at_a_time(cluster: Cluster) -> int:
    """How many trials Ray does at a time; ``connected`` to it."""
    import ray

    resources = ray.cluster_resources()
    by_gpus = resources.get("GPU", 0) / cluster.gpus_per_trial if cluster.gpus_per_trial else math.inf
    return max(1, int(min(resources.get("CPU", 1) / cluster.cpus_per_trial, by_gpus)))


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """A connection to Ray, or a Ray of this machine alone.

    Raises:
        ConfigError: if Ray is missing, the cluster can't be reached, or has too little for a trial.
    """
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # it would take an interrupted search for a finished one
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one announces itself even if it is to be silent
    ray = import_ray()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # tracebacks of trials, which their error.txt has too
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        os.environ["PYTHONPATH"] = search_path()
        ray.init("local", num_cpus=available_cores(), include_dashboard=False, **quiet)
    else:
        _check_reachable(cluster.address)
        try:
            ray.init(address=cluster.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise ConfigError(f"address: no Ray cluster at {cluster.address}: {error}") from error
    try:
        _check_resources(cluster, ray.nodes())
        with interrupts.raised():  # Ray has put a handler of its own in place
            yield
    finally:
        ray.shutdown()


def import_ray() -> Any:
    """Ray, with its Tune.

    Raises:
        ConfigError: if it, or a package that it needs, is missing.
    """
    try:
        import ray

        import_module("ray.tune")  # needs more packages than ray itself
    except ImportError as error:
        raise ConfigError(f'tool ray: {error}; pip install "recbole-cfgdiff[ray]"') from error
    return ray


def _check_reachable(address: str) -> None:
    """Ray itself waits for minutes where nothing answers, or something else than Ray."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ConfigError(f"address: expected HOST:PORT or auto, got {address}")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"address: nothing answers at {address}: {error}") from error
    import grpc

    try:
        with grpc.insecure_channel(address) as channel:
            # gRPC's own question, which Ray answers without the token that its services may want.
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=_CONNECT_SECONDS)
    except grpc.RpcError as error:
        raise ConfigError(f"address: what answers at {address} is no Ray cluster: {error.code().name}") from error


def _check_resources(cluster: Cluster, nodes: list[dict[str, Any]]) -> None:
    """A trial that fits on no machine would wait forever."""
    most_cpus = max(node["Resources"].get("CPU", 0) for node in nodes)
    most_gpus = max(node["Resources"].get("GPU", 0) for node in nodes)
    if cluster.cpus_per_trial > most_cpus or cluster.gpus_per_trial > most_gpus:
        raise ConfigError(
            f"cpus_per_trial, gpus_per_trial: a trial is to have {cluster.cpus_per_trial} cores and "
            f"{cluster.gpus_per_trial:g} accelerators, but the machine with most has {most_cpus:g} and {most_gpus:g}"
        )
