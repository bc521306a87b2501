"""What any model of ours and any guidance encoder keeps to, for one's own too; nothing of pytest is needed.

    from contract import check_encoder, check_model
    check_encoder(MyEncoder)  # a GuidanceEncoder
    check_model("MyModel", "ml-100k")  # a HistoryRecommender in recbole_cfgdiff.model.MODELS

Each raises an AssertionError that says what is broken.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from recbole_cfgdiff.diffusion import (
    Denoiser,
    GuidanceEncoder,
    HistoryScorer,
    NoiseSchedule,
    Restoration,
    Scorer,
    SparseRows,
    make_betas,
)
from recbole_cfgdiff.diffusion.samplers import ddpm
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.runs.prepare import load_trained

N_ITEMS, WIDTH, SCALES = 30, 8, [0.0, 1.0, 2.5]
QUIET = {"show_progress": False, "state": "ERROR", "metric_decimal_place": 8, "gpu_id": ""}


def check_encoder(make: Callable[[int, int, int], GuidanceEncoder]) -> None:
    """Check an encoder: its shape, its null guidance, padding, and scores with it by both processes."""
    torch.manual_seed(0)
    encoder = make(N_ITEMS, 5, WIDTH)
    denoiser = Denoiser(N_ITEMS, [WIDTH], guidance_encoder=encoder).double().eval()
    history = some_histories()
    with torch.no_grad():
        for parameter in encoder.parameters():  # biases begin at 0: training moves them
            parameter.add_(0.1 * torch.randn_like(parameter))
        code = encoder(history)
        assert code.shape == (len(history), WIDTH), f"codes of shape {tuple(code.shape)}"
        assert code.isfinite().all(), "codes that are not finite"
        assert (encoder(history.zeros()) == 0).all(), "null guidance contributes: rows without an entry"
        null = history.scaled(torch.zeros(1, dtype=torch.float64))
        assert (encoder(null) == 0).all(), "null guidance contributes: rows whose entries are all padding"
        assert (code[0] == 0).all(), "null guidance contributes: an empty row beside others"
        assert not (code[1:] == 0).all(dim=1).any(), "a history is encoded as the null guidance"
    steps = ddpm(NoiseSchedule(make_betas("linear", 4, 0.1, 0.01, 0.5, True)), "x0", range(4))
    task = Restoration(N_ITEMS, NoiseSchedule(make_betas("linear", 4, 0.1, 0.01, 0.5, True)))
    check_scorer(Scorer(task, denoiser, steps, sampling_noise=False), history)


def check_scorer(scorer: HistoryScorer, history: SparseRows, tolerance: float = 1e-9) -> None:
    """Check scores: their shape, that without a history they do not depend on the scale, and that both processes give
    the same, where there are two."""
    scores = [each.clone() for each in scorer.sweep(history, SCALES)]
    assert scores[0].shape == history.shape, f"scores of shape {tuple(scores[0].shape)}, expected {history.shape}"
    empty = [each.clone() for each in scorer.sweep(history.zeros(), SCALES)]
    for one, other in itertools.pairwise(empty):
        assert _alike(one, other, tolerance), "null guidance contributes: scores without a history depend on the scale"
    with scorer.fixed_weights():
        again = next(scorer.sweep(history, [SCALES[-1]]))
        assert _alike(again, scores[-1], tolerance), "scores are others within fixed_weights"
    if not isinstance(scorer, Scorer):
        return
    chosen, scorer.runs_in_hidden_space = scorer.runs_in_hidden_space, False
    over_the_items = list(scorer.sweep(history, SCALES))
    scorer.runs_in_hidden_space = chosen
    for one, other in zip(scores, over_the_items):
        assert _alike(one, other, tolerance), "the two processes give different scores"


def check_model(model: str, dataset: str, options: dict[str, Any] | None = None) -> None:
    """Check a model, by name: scores, a checkpoint, and a run that is resumed. Trains it for a few epochs."""
    given = {**QUIET, **(options or {}), "epochs": 4}
    whole = run(model, dataset, None, {**given, "run_name": f"{model}-whole"})
    prepared = load_trained(Path("saved") / f"{model}-whole")
    trained = prepared.trainer.model
    users = next(iter(prepared.test_data))[0]
    scores = trained.full_sort_predict(users)
    assert scores.shape == (len(users), trained.n_items), f"scores of shape {tuple(scores.shape)}"
    metrics = prepared.trainer.evaluate(prepared.test_data, load_best_model=False)
    assert dict(metrics) == dict(whole["test_result"]), "a loaded checkpoint gives other metrics than the run gave"
    check_scorer(trained.scorer, trained.histories.select(users[trained.USER_ID]), tolerance=1e-4)
    run(model, dataset, None, {**given, "epochs": 2, "run_name": f"{model}-half"})
    resumed = run(model, dataset, None, {**given, "resume": f"saved/{model}-half/last.pth"})
    assert resumed["test_result"] == whole["test_result"], "a resumed run ends with other metrics"


def some_histories() -> SparseRows:
    """Of five users, float64, in no order of the items; the first is empty, and the last has padding."""
    row = torch.tensor([1, 1, 1, 2, 3, 3, 4, 4, 4])
    items = torch.tensor([7, 2, 19, 5, 29, 1, 3, 28, 4])
    values = torch.tensor([1, 1, 1, 1, 1, 1, 1, 1, 0], dtype=torch.float64)
    return SparseRows(row, items, values, 5, N_ITEMS)


def _alike(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    return bool((one - other).abs().max() <= tolerance * other.abs().max())
