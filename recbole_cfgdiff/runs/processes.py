"""A run in several processes of one machine, or of several machines: RecBole's, on CUDA by nccl."""

from __future__ import annotations

from typing import Any

import torch

from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.runs.prepare import configure, prepare_config


def check_devices(nproc: int, gpu_id: str) -> None:
    devices = min(len(gpu_id.split(",")), torch.cuda.device_count())
    if nproc > devices:
        raise ConfigError(
            f"nproc {nproc}: expected at most one process for each device that gpu_id names, got gpu_id {gpu_id!r} and "
            f"{devices} such here; name one for each process, as in gpu_id=0,1"
        )


def run_processes(nproc: int, *arguments: Any) -> dict[str, Any]:
    """The run by several processes on this machine, which end with this one."""
    queue = torch.multiprocessing.get_context("spawn").SimpleQueue()
    group = torch.multiprocessing.spawn(_run_process, args=(*arguments, queue), nprocs=nproc, join=False)
    try:
        while not group.join():
            pass
    except torch.multiprocessing.ProcessRaisedException:
        if queue.empty():
            raise
        raise queue.get() from None
    finally:
        for process in group.processes:
            process.kill()
            process.join()
    return queue.get()


def _run_process(rank: int, *arguments: Any) -> None:
    """One of several processes; the first puts its result into the queue, any of them what ended it."""
    model, dataset, config_file_list, options, saved, queue = arguments
    try:
        config = configure(model, dataset, config_file_list, {**options, "local_rank": rank})
        result = prepare_config(config).fit_and_test(saved)
    except (ConfigError, TrainingError) as error:
        queue.put(error)
        raise  # which ends the others too, wherever they wait for this one
    torch.distributed.destroy_process_group()
    if rank == 0:
        queue.put(result)
