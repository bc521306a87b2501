"""How far it is from a call to what it does: the way a reader goes."""

import sys

import pytest
import torch

from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.runs.prepare import load_data, make_trainer

PACKAGE = "recbole_cfgdiff"


def deepest_chain(call):
    """The longest chain of calls within the package that ``call`` makes, as pairs of module and function."""
    stack, deepest = [], []

    def profile(frame, event, _):
        module = frame.f_globals.get("__name__", "")
        is_generated = frame.f_code.co_name.startswith("<") or frame.f_code.co_filename.startswith("<")
        if not module.startswith(PACKAGE) or is_generated:
            return
        if event == "call":
            stack.append((module, frame.f_code.co_name))
            deepest[:] = max(deepest, stack, key=len)
        elif event == "return" and stack:
            stack.pop()

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return deepest


@pytest.mark.parametrize("model", ["DiffRec", "CFGDiffRec", "ForwardCFGDiffRec"])
def test_scores_are_at_most_eight_calls_and_five_modules_away(model, tiny):
    options = {"show_progress": False, "state": "ERROR"}
    config = Config(model, tiny, config_dict=options)
    _, train_data, _, test_data = load_data(config)
    model = make_trainer(config, train_data).model.eval()
    users = next(iter(test_data))[0].to(model.device)
    model.guidance_scale = 2.0
    with torch.no_grad():
        chain = deepest_chain(lambda: model.full_sort_predict(users))
    assert 3 <= len(chain) <= 8 and len({module for module, _ in chain}) <= 5, "\n".join(map(str, chain))
