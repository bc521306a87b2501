"""Own sampler: a function from a schedule to the steps of inference, chosen by ``--sampler=NAME``.

python examples/own_sampler.py
"""

from __future__ import annotations

from collections.abc import Sequence

from recbole_cfgdiff.diffusion import NoiseSchedule, Step, register_sampler
from recbole_cfgdiff.quick_start import run


@register_sampler("halfway")
def halfway(schedule: NoiseSchedule, mean_type: str, timesteps: Sequence[int]) -> list[Step]:
    """Each step goes half of the way to the predicted ``x_0``, the last one all of it."""
    if mean_type != "x0":
        raise ValueError("sampler halfway: it needs mean_type x0")
    first, *others = timesteps  # ascending: the first is that of the least noise
    return [*(Step(t, 0.5, 0.5, noise_std=0.0) for t in reversed(others)), Step(first, 0.0, 1.0, noise_std=0.0)]


def main(dataset: str = "ml-100k", epochs: int = 10) -> dict[str, float]:
    """NDCG@10 by sampler."""
    found = {}
    for sampler in ("ddpm", "ddim", "halfway"):
        options = {"epochs": epochs, "sampling_timesteps": 3, "sampler": sampler}
        found[sampler] = float(run("CFGDiffRec", dataset, config_dict=options)["test_result"]["ndcg@10"])
    return found


if __name__ == "__main__":
    print(main())
