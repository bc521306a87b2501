"""``init_from``: a run starts from the weights of an older one, matched by the ids of items and users."""

import logging
from pathlib import Path

import pytest
import torch

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.older_weights import old_weights
from recbole_cfgdiff.quick_start import load_data_and_model, run
from recbole_cfgdiff.recommender import Recommender
from tests.conftest import write_inter

QUIET = {"show_progress": False, "state": "ERROR", "epochs": 2}
# In one step: in several, what is predicted of the new items acts upon the others.
OURS = {
    "DiffRec": {"steps": 1},
    "CFGDiffRec": {"steps": 1, "guidance_encoder": "raw"},
    "ForwardCFGDiffRec": {"steps": 1, "recency_powers": [0.5, 1.0]},
}
RECBOLES = {"LightGCN": "user_embedding.weight", "SASRec": None, "MultiVAE": None}


def read(name):
    return [line.split("\t") for line in Path(f"dataset/{name}/{name}.inter").read_text().splitlines()[1:]]


@pytest.fixture
def grown(tiny):
    """``dataset/grown``: of the users of tiny the latter first, u59 gone and u60 new; i0 gone, of which u1's rows are
    left as they are, and i40 and i41 new."""
    rows = sorted(read(tiny), key=lambda row: (-int(row[0][1:]), row[2]))
    names = {"i0": "i40"}
    rows = [(user, names.get(item, item), time) for user, item, time in rows if user != "u59"]
    rows += [("u60", f"i{item}", 1_400_000_000 + item) for item in (41, 40, *range(1, 15))]
    write_inter(Path("dataset"), "grown", rows)
    return "grown"


def same_user(*names):
    """One whose rows are the same in all data sets."""
    rows = [{user: [row for row in read(name) if row[0] == user] for user, *_ in read(name)} for name in names]
    return next(user for user in rows[0] if all(sorted(each.get(user, [])) == sorted(rows[0][user]) for each in rows))


def scores(folder, user):
    """By id of the item."""
    _, model, dataset, *_ = load_data_and_model(folder)
    model.eval()
    with torch.no_grad():
        found = model.full_sort_predict({"user_id": torch.tensor(dataset.token2id("user_id", [user]))})[0]
    return dict(zip(dataset.id2token("item_id", range(dataset.item_num)).tolist(), found.tolist()))


@pytest.mark.parametrize("is_exported", [False, True])
@pytest.mark.parametrize("model", OURS)
def test_a_model_of_ours_scores_known_items_as_before(model, is_exported, tiny, grown):
    before = run(model, tiny, config_dict={**OURS[model], **QUIET})["run_dir"]
    if is_exported:
        Recommender.load(before).save_pretrained("exported")
    given = {**OURS[model], **QUIET, "epochs": 0, "init_from": "exported" if is_exported else before}
    after = run(model, grown, config_dict=given)["run_dir"]
    user = same_user(tiny, grown)
    old, new = scores(before, user), scores(after, user)
    both = sorted(old.keys() & new.keys())
    assert len(both) == 40 and set(new) - set(old) == {"i40", "i41"}  # 39 and the padding
    torch.testing.assert_close([new[item] for item in both], [old[item] for item in both], rtol=1e-5, atol=1e-6)
    fresh = run(model, grown, config_dict={**given, "init_from": None})["run_dir"]
    assert abs(scores(fresh, user)["i1"] - old["i1"]) > 1e-3
    ours, anew = (checkpoint.load(Path(folder) / "best.pth")["state_dict"] for folder in (after, fresh))
    place = load_data_and_model(after)[2].token2id("item_id", "i41")
    assert torch.equal(ours["denoiser.output_layer.weight"][place], anew["denoiser.output_layer.weight"][place])


@pytest.mark.parametrize("model", RECBOLES)
def test_weights_of_recboles_models_go_to_the_same_ids(model, tiny, grown):
    options = {**QUIET, **({"train_neg_sample_args": None} if model == "SASRec" else {})}
    before = run(model, tiny, config_dict=options)["run_dir"]
    after = run(model, grown, config_dict={**options, "epochs": 0, "init_from": before})["run_dir"]
    fields = {"item": "items"} | ({"user": "users"} if model == "LightGCN" else {})
    old, new = old_weights(before), old_weights(after)
    assert set(new.ids) == set(fields.values())
    tables = {
        "LightGCN": "{}_embedding.weight",
        "SASRec": "{}_embedding.weight",
        "MultiVAE": "decoder.2.bias",
    }
    for field, what in fields.items():
        name = tables[model].format(field)
        ours, theirs = (dict(zip(each.ids[what], each.state_dict[name].tolist())) for each in (new, old))
        shared = ours.keys() & theirs.keys()
        assert {each: ours[each] for each in shared} == {each: theirs[each] for each in shared}
        assert len(shared) == (40 if field == "item" else 60)


def test_the_same_items_in_another_order_are_still_matched_by_id(tiny):
    write_inter(Path("dataset"), "turned", list(reversed(read(tiny))))
    before = run("DiffRec", tiny, config_dict=QUIET)["run_dir"]
    after = run("DiffRec", "turned", config_dict={**QUIET, "epochs": 0, "init_from": before})["run_dir"]
    old, new = scores(before, "u3"), scores(after, "u3")
    assert list(old) != list(new)
    torch.testing.assert_close([new[item] for item in old], list(old.values()), rtol=1e-5, atol=1e-6)


def test_a_model_is_not_loaded_with_items_in_another_order_than_its_own(tiny):
    folder = run("DiffRec", tiny, config_dict=QUIET)["run_dir"]
    write_inter(Path("dataset"), tiny, list(reversed(read(tiny))))
    with pytest.raises(ConfigError, match=f"{folder}/best.pth: the data set tiny has other items or users by now"):
        load_data_and_model(folder)


def test_it_says_how_many_were_matched_and_goes_on_when_interrupted(tiny, grown, cli, caplog):
    caplog.set_level(logging.INFO)
    before = run("LightGCN", tiny, config_dict=QUIET)["run_dir"]
    arguments = ("--model=LightGCN", f"--dataset={grown}", f"--init_from={before}", "--show_progress=False")
    assert cli(*arguments, "--epochs=3", "--run_name=long").status == 0
    told = next(each for each in caplog.messages if "start anew" in each)
    assert f"Weights of {before} are those of 39 of 41 items and 59 of 60 users here" in told
    assert cli(*arguments, "--epochs=1", "--run_name=short").status == 0
    Path(before).rename("elsewhere")
    assert cli("--resume=saved/short", "--epochs=3", "--show_progress=False").status == 0
    ours, others = (checkpoint.load(f"saved/{name}/best.pth")["state_dict"] for name in ("long", "short"))
    for name in ours:  # by several threads LightGCN's sums are in any order
        torch.testing.assert_close(ours[name], others[name], rtol=0, atol=1e-6)


def without_ids(state):
    del state["ids"]


def with_odd_ids(state):
    state["ids"]["items"][1] = 7


def with_an_id_twice(state):
    state["ids"]["items"][1] = state["ids"]["items"][2]


def with_one_id_less(state):
    state["ids"]["items"].pop()


def with_other_ids(state):
    state["ids"]["items"] = [f"x{place}" for place in range(len(state["ids"]["items"]))]


def with_infinite_weights(state):
    state["state_dict"]["denoiser.input_bias"][0] = float("inf")


def with_other_weights(state):
    state["state_dict"]["denoiser.input_bias"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_ids, "it is of a version that kept no ids"),
        (with_odd_ids, "see its ids"),
        (with_an_id_twice, "see its ids"),
        (with_one_id_less, "denoiser.input_layer.weight is of shape"),
        (with_other_ids, "init_from: no item of saved/r is in the data set"),
        (with_infinite_weights, "denoiser.input_bias has numbers that are not finite"),
        (with_other_weights, "denoiser.input_bias is of shape (3,), here of"),
    ],
)
def test_a_checkpoint_of_others_is_checked(change, told, tiny, grown, cli):
    path = Path(run("DiffRec", tiny, config_dict={**QUIET, "run_name": "r"})["run_dir"]) / "best.pth"
    state = checkpoint.load(path)
    change(state)
    checkpoint.save(state, path)
    outcome = cli("--model=DiffRec", f"--dataset={grown}", "--init_from=saved/r", "--epochs=1")
    assert outcome.status == 2 and told in outcome.err.splitlines()[-1], outcome.err
    assert not list(Path("saved").glob("*/result.json"))[1:]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--model=CFGDiffRec",), "init_from: saved/r is of the model DiffRec, not of CFGDiffRec"),
        (("--model=DiffRec", "--dims_dnn=[30]"), "another architecture"),
        (("--model=DiffRec", "--dims_dnn=[200, 200]"), "init_from: saved/r is of another architecture"),
        (("--model=EASE",), "init_from: it would do nothing: the model is fitted in one go"),
        (("--model=DiffRec", "--init_from=nowhere"), "nowhere"),
        (("--model=DiffRec", "--init_from=2024"), "checkpoint 2024: there is no such file"),
    ],
    ids=str,
)
def test_mistakes_are_told_in_one_line(options, told, tiny, grown, cli):
    run("DiffRec", tiny, config_dict={**QUIET, "run_name": "r"})
    given = ["--init_from=saved/r"] if not any("init_from" in option for option in options) else []
    outcome = cli(f"--dataset={grown}", *given, *options, "--state=ERROR")
    assert outcome.status == 2 and told in outcome.err and len(outcome.err.splitlines()) == 1, outcome.err


def test_a_width_that_is_the_number_of_items_is_not_taken_for_it(tiny, cli):
    write_inter(Path("dataset"), "turned", list(reversed(read(tiny))))
    run("DiffRec", tiny, config_dict={**QUIET, "run_name": "r", "dims_dnn": [41]})
    outcome = cli("--model=DiffRec", "--dataset=turned", "--init_from=saved/r", "--dims_dnn=[41]", "--state=ERROR")
    assert outcome.status == 2 and "there are 41 items before and now" in outcome.err


def test_files_of_others_do_not_name_weights(tiny, cli):
    result = run("DiffRec", tiny, config_dict={**QUIET, "run_name": "r"})
    path = Path(result["run_dir"]) / "best.pth"
    state = checkpoint.load(path)
    state["options"]["init_from"] = "/nowhere/at/all"
    checkpoint.save(state, path)
    load_data_and_model(path)
    assert cli("--fit=all", "--like=saved/r", "--state=ERROR", "--show_progress=False").status == 0
    Path("dataset/tiny/tiny.yaml").write_text("init_from: saved/r\n")
    outcome = cli("--model=DiffRec", "--dataset=tiny")
    assert outcome.status == 2 and "refused, it sets init_from" in outcome.err
