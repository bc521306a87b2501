"""Checkpoints and data folders of others: nothing in them runs, and what they say is checked before it is used."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from conftest import write_inter
from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.quick_start import load_data_and_model, run
from recbole_cfgdiff.runs.prepare import prepare

QUIET = {"epochs": 1, "state": "ERROR", "topk": [5], "valid_metric": "NDCG@5"}
EXECUTED = Path("executed")
CODE = "__import__('pathlib').Path('executed').touch()"
NUMBERS = "{'inter': ['user_id', 'item_id', 'rating', 'timestamp']}"


class Payload:
    def __reduce__(self):
        return (EXECUTED.touch, ())


def trained(model, dataset, **options):
    run(model, dataset, config_dict={**QUIET, "run_name": "it", **options})
    return Path("saved/it")


def changed(folder, change, name="best.pth"):
    """Change a checkpoint as somebody who knows its format would."""
    state = torch.load(folder / name, weights_only=True)
    change(state)
    torch.save(state, folder / name)


def refuses(folder, *parts):
    with pytest.raises(ConfigError) as raised:
        load_data_and_model(folder)
    assert all(part in str(raised.value) for part in parts)
    assert not EXECUTED.exists()


@pytest.mark.parametrize("option", ["teacher", "t_depth", "alpha"])
@pytest.mark.parametrize("given", ["command line", "config file", "beside the data", "python"])
def test_no_option_is_run_as_code(option, given, tiny, cli):
    arguments, message = ["--model=KD_DAGFM", f"--dataset={tiny}", "--metrics=AUC", "--valid_metric=AUC"], option
    if given == "command line":
        arguments.append(f"--{option}={CODE}")
    elif given == "config file":
        Path("a.yaml").write_text(f'{option}: "{CODE}"\n')
        arguments.append("--config_files=a.yaml")
    elif given == "beside the data":
        Path("dataset/tiny/tiny.yaml").write_text(f'{option}: "{CODE}"\n')
    else:
        with pytest.raises(ConfigError, match=option):
            run("KD_DAGFM", tiny, config_dict={option: CODE})
        return
    outcome = cli(*arguments)
    assert outcome.status == 2 and f"error: {message}: expected" in outcome.err
    assert not EXECUTED.exists()


def test_no_choice_of_a_search_is_run_as_code(tiny, capfd):
    Path("a.hyper").write_text(f'teacher choice ["CrossNet", "{CODE}"]\n')
    arguments = [
        "--model=KD_DAGFM",
        f"--dataset={tiny}",
        "--params_file=a.hyper",
        "--metrics=AUC",
        "--valid_metric=AUC",
    ]
    assert main(["tune", *arguments, "--algo=exhaustive"]) == 2
    assert "teacher: expected one of CrossNet, CIN" in capfd.readouterr().err and not EXECUTED.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("dataset_save_path", "x.pth"),
        ("dataloaders_save_path", "x.pth"),
        ("checkpoint_dir", "elsewhere"),
        ("data_path", "elsewhere"),
        ("config_file", "x.yaml"),
        ("log_wandb", True),
        ("gpu_id", "3"),
        ("use_gpu", False),
        ("seed", 7),
        ("resume", "saved/x"),
        ("run_name", "x"),
        ("pre_model_path", "x.pth"),
        ("mf_pretrain_path", "x.pth"),
        ("warm_up", "x.pth"),
        ("chosen_by", "somebody"),
        ("nonsense", 1),
    ],
)
def test_a_data_folder_sets_no_option_that_is_not_the_datas(option, value, tiny, cli):
    Path("x.pth").write_bytes(pickle.dumps(Payload()))
    Path("dataset/tiny/tiny.yaml").write_text(f"{option}: {value}\n")
    outcome = cli("--model=NeuMF", f"--dataset={tiny}")
    assert outcome.status == 2 and f"dataset/tiny/tiny.yaml: refused, it sets {option};" in outcome.err
    assert not EXECUTED.exists() and not Path("saved").exists()


def test_a_data_folder_describes_its_data_the_split_and_the_model(tiny, cli):
    Path("dataset/tiny/tiny.yaml").write_text(
        "TIME_FIELD: timestamp\nload_col: {inter: [user_id, item_id, timestamp]}\ntopk: [3]\nvalid_metric: NDCG@3\n"
        "epochs: 1\nsteps: 2\nlearning_rate: 1e-2\nuser_inter_num_interval: '[11,inf)'\n"
    )
    outcome = cli("--model=DiffRec", f"--dataset={tiny}")
    assert outcome.status == 0 and "ndcg@3" in outcome.out


@pytest.mark.parametrize("name", ["tiny-Dataset.pth", "tiny-for-DiffRec-dataloader.pth"])
def test_what_lies_where_recbole_looks_is_not_loaded(name, tiny, cli):
    Path("saved").mkdir()
    Path("saved", name).write_bytes(pickle.dumps(Payload()))
    assert cli("--model=DiffRec", f"--dataset={tiny}", "--epochs=1").status == 0
    assert not EXECUTED.exists()


@pytest.mark.parametrize("option", ["dataset_save_path", "dataloaders_save_path"])
def test_a_pickle_that_is_named_is_refused(option, tiny, cli):
    Path("x.pth").write_bytes(pickle.dumps(Payload()))
    outcome = cli("--model=DiffRec", f"--dataset={tiny}", f"--{option}=x.pth")
    assert outcome.status == 2 and f"error: {option}: x.pth: it is not one of recbole-cfgdiff's" in outcome.err
    assert not EXECUTED.exists()


def test_kept_data_is_checked_and_changes_nothing(tiny, cli):
    options = ["--model=DiffRec", f"--dataset={tiny}", "--epochs=2"]
    plain = cli(*options).out.partition("run folder")[0]
    kept = cli(*options, "--save_dataset=True", "--save_dataloaders=True")
    assert kept.out.partition("run folder")[0] == plain
    names = (
        "--dataset_save_path=saved/tiny-Dataset.json",
        "--dataloaders_save_path=saved/tiny-for-DiffRec-dataloader.json",
    )
    assert cli(*options, *names).out.partition("run folder")[0] == plain
    other_split = cli(*options, names[1], "--eval_args={'split': {'RS': [0.5, 0.3, 0.2]}}")
    assert other_split.status == 2 and "(differing: parts, option eval_args)" in other_split.err
    other_rows = cli(*options, names[0], "--user_inter_num_interval=[12,inf)")
    assert other_rows.status == 2 and "(differing: option user_inter_num_interval)" in other_rows.err
    path = Path("dataset/tiny/tiny.inter")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:400]))
    assert "(differing: files" in cli(*options, names[0]).err
    assert prepare("DiffRec", tiny, None, QUIET).dataset.inter_num == 399


def sets(**options):
    return lambda state: state["options"].update(options)


def weights(name, change):
    def apply(state):
        state["state_dict"][name] = change(state["state_dict"][name])

    return apply


LAYER = "denoiser.output_layer.weight"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (sets(teacher=CODE), ["refused, it sets teacher"]),
        (sets(mf_pretrain_path="x.pth"), ["refused, it sets mf_pretrain_path"]),
        (sets(config_file="x.yaml"), ["refused, it sets config_file"]),
        (sets(steps=CODE), ["steps: expected an integer"]),
        (lambda state: state["options"].update({1: 2}), ["refused, it sets 1"]),
        (sets(load_col=3), ["load_col"]),
        (sets(data_path="nowhere"), ["unknown dataset tiny"]),
        (lambda state: state.update(model="KD_DAGFM"), [""]),
        (lambda state: state.update(model="os"), ["unknown model os"]),
        (lambda state: state.update(model=3), ["see its model"]),
        (lambda state: state.update(dataset="../tiny"), ["dataset: expected the name of a file or folder"]),
        (lambda state: state.pop("optimizers"), ["see its optimizers"]),
        (lambda state: state.update(state_dict=[]), ["see its state_dict"]),
        (lambda state: state["state_dict"].pop(LAYER), [f"missing: {LAYER}"]),
        (weights(LAYER, lambda weight: weight * torch.nan), [f"{LAYER} has numbers that are not finite"]),
        (weights(LAYER, lambda weight: weight / 0), [f"{LAYER} has numbers that are not finite"]),
        (weights(LAYER, lambda weight: weight.long()), [f"{LAYER} is torch.int64", "expected torch.float32"]),
        (weights(LAYER, lambda weight: weight.double()), [f"{LAYER} is torch.float64"]),
        (weights(LAYER, lambda weight: weight[:-1]), [f"{LAYER} is torch.float32 of shape"]),
        (weights(LAYER, lambda weight: weight.to_sparse()), ["a tensor that is not dense"]),
        (
            weights(LAYER, lambda weight: torch.zeros(1).expand(weight.shape)),
            ["a tensor that is larger than its numbers"],
        ),
        (weights(LAYER, lambda weight: weight.tolist()), [f"{LAYER} is a list"]),
        (weights("denoiser._extra_state", lambda scales: scales[:1]), ["_extra_state is torch.float64 of shape (1,)"]),
        (lambda state: state["state_dict"].update(forward=torch.ones(1)), ["not in the model: forward"]),
        (lambda state: state["other_parameter"].update(forward=3), ["not in the model: forward"]),
    ],
)
def test_a_crafted_checkpoint_is_one_error(change, parts, tiny):
    folder = trained("DiffRec", tiny)
    changed(folder, change)
    refuses(folder, *parts)


def sparse(**parts):
    def apply(state):
        state["other_parameter"]["interaction_matrix"].update(parts)

    return apply


@pytest.mark.parametrize(
    "change",
    [
        sparse(indices=torch.full((593,), 10**9, dtype=torch.int32)),
        sparse(indptr=torch.zeros(3, dtype=torch.int32)),
        sparse(shape=[10**9, 10**9]),
        sparse(shape=[-1, 4]),
        sparse(shape="ab"),
        sparse(format="csc"),
        sparse(format="nonsense"),
        sparse(data=torch.ones(1)),
        sparse(data=None),
        lambda state: state["other_parameter"]["interaction_matrix"].pop("indptr"),
        lambda state: state["other_parameter"].update(interaction_matrix=3),
        lambda state: state["other_parameter"].update(item_similarity=None),
        lambda state: state["other_parameter"]["item_similarity"].update(data=torch.full((41, 41), torch.nan)),
        lambda state: state["other_parameter"].pop("item_similarity"),
    ],
)
def test_a_crafted_matrix_is_one_error(change, tiny):
    folder = trained("EASE", tiny)
    changed(folder, change)
    refuses(folder, "checkpoint saved/it/best.pth: ")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda state: state["counters"].update(forward=1), "forward"),
        (lambda state: state["counters"].update(_modules={}), "_modules"),
        (lambda state: state["optimizers"].update(model={}), "model"),
        (lambda state: state["optimizers"]["optimizer"]["state"][0].pop("exp_avg"), "an optimiser's"),
        (lambda state: state["optimizers"]["optimizer"]["state"][0].update(exp_avg=torch.ones(3)), "exp_avg of"),
        (lambda state: state["optimizers"]["optimizer"]["state"].update({99: {}}), "of no weight"),
        (lambda state: state["optimizers"]["optimizer"].pop("param_groups"), "param_groups"),
        (lambda state: state["random_states"].update(python=[3, [1], None]), ""),
        (lambda state: state["random_states"].pop("numpy"), "numpy"),
        (lambda state: state["options"].pop("learner"), "learner: the run was trained by None"),
        (lambda state: state.update(loader_generator=torch.ones(3)), ""),
        (lambda state: state.update(epoch=-5), "below 0"),
        (lambda state: state.update(epoch="1"), "see its epoch"),
        (lambda state: state.update(best_valid_result={"ndcg@5": "high"}), "best_valid_result"),
    ],
)
def test_a_crafted_run_is_not_resumed(change, part, tiny, cli):
    folder = trained("CFGDiffRec", tiny)
    before = (folder / "best.pth").read_bytes()
    changed(folder, change, "last.pth")
    outcome = cli(f"--resume={folder}", "--epochs=3")
    told = outcome.err.strip().splitlines()[-1]
    assert outcome.status == 2 and told.startswith(("error: checkpoint saved/it/last.pth: ", "error: learner: "))
    assert part in told
    assert (folder / "best.pth").read_bytes() == before


def test_options_of_a_run_that_is_resumed_are_checked_too(tiny, cli):
    folder = trained("DiffRec", tiny)
    changed(folder, sets(teacher=CODE), "last.pth")
    outcome = cli(f"--resume={folder}")
    assert outcome.status == 2 and "refused, it sets teacher" in outcome.err and not EXECUTED.exists()


def test_a_checkpoint_that_leads_to_another_data_folder_trusts_it_no_more(tiny):
    folder = trained("DiffRec", tiny)
    Path("theirs").mkdir()
    Path("dataset/tiny").rename("theirs/tiny")
    Path("theirs/tiny/tiny.yaml").write_text("dataset_save_path: x.pth\n")
    Path("x.pth").write_bytes(pickle.dumps(Payload()))
    changed(folder, sets(data_path="theirs"))
    refuses(folder, "theirs/tiny/tiny.yaml: refused, it sets dataset_save_path")


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused():
    torch.save({"x": torch.zeros(2_000_000)}, "plain.pth")
    with zipfile.ZipFile("plain.pth") as plain, zipfile.ZipFile("bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert Path("bomb.pth").stat().st_size < 100_000
    with pytest.raises(ConfigError, match="its members are compressed"):
        checkpoint.load("bomb.pth")


def test_lists_in_lists_do_not_unpack():
    value = [0]
    for _ in range(40):
        value = [value] * 10
    torch.save({"model": value}, "lists.pth")
    with pytest.raises(ConfigError, match="unpack to more values"):
        checkpoint.load("lists.pth")


@pytest.mark.parametrize(
    "state",
    [
        {"options": {"topk": ["x" * 500_000] * 10_000}},
        {"other_parameter": [{"__kind__": "sparse", "format": "csc", "shape": [0, 2**25]}] * 50},
        {"other_parameter": [{"__kind__": "sparse", "format": "dia", "shape": [3, 3]}]},
    ],
)
def test_what_stands_in_a_checkpoint_many_times_does_not_unpack(state):
    torch.save(state, "bomb.pth")
    with pytest.raises(ConfigError, match=r"unpack to more values|of no format and shape"):
        checkpoint.load("bomb.pth")


def test_no_checkpoint_has_sizes_that_its_weights_can_not_have(tiny):
    folder = trained("DiffRec", tiny)
    changed(folder, sets(steps=50_000_000))
    refuses(folder, "refused, its steps is 50000000, more than it has bytes")


def test_a_checkpoint_sends_nothing_to_wandb(tiny):
    folder = trained("DiffRec", tiny)
    changed(folder, sets(log_wandb=True))
    assert load_data_and_model(folder)[0]["log_wandb"] is False


@pytest.mark.parametrize("model", ["SGL", "RepeatNet", "FEARec"])
def test_models_that_keep_what_is_no_plain_value_are_resumed(model, tiny, cli):
    """SGL keeps sparse graphs, RepeatNet what its first step leaves; FEARec has an option that is the text None."""
    options = [] if model == "SGL" else ["--train_neg_sample_args=None"]
    small = ["--hidden_size=8", "--inner_size=8"] if model == "FEARec" else []
    run_ = (f"--model={model}", f"--dataset={tiny}", "--run_name=it", "--epochs=1", *options, *small)
    assert cli(*run_).status == 0 and cli("--resume=saved/it", "--epochs=2").status == 0
    load_data_and_model("saved/it")


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps(Payload()), b"\x80\x04.", bytes(100)])
def test_what_is_no_checkpoint_is_told_so(content):
    Path("x.pth").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x.pth: not a checkpoint of recbole-cfgdiff, or damaged"):
        checkpoint.load("x.pth")
    assert not EXECUTED.exists()


def test_sparse_matrices_come_back_as_they_were():
    for kind in ("csr", "csc", "coo", "lil", "dok"):
        matrix = scipy.sparse.random(5, 7, 0.4, format=kind, random_state=0)
        back = checkpoint.decode(checkpoint.encode(matrix))
        assert back.format == kind and np.array_equal(back.toarray(), matrix.toarray())


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--model=LightGCN", "--threshold={'rating': 3}"], "val_interval"),
        (["--model=EASE", "--learning_rate=0.5"], "fitted in one go"),
        (["--model=DiffRec", "--MAX_ITEM_LIST_LENGTH=7"], "only sequential models"),
        (["--model=DiffRec", "--kg_reverse_r=True"], "only knowledge-aware models"),
        (["--model=DiffRec", "--noise_seed=7"], "give noise_threshold with it"),
        (["--model=DiffRec", "--heldout_seed=7"], "give heldout_users with it"),
        (["--model=DiffRec", "--wandb_project=mine"], "give --log_wandb=True with it"),
        (["--model=DiffRec", "--eval_step=0", "--stopping_step=3"], "nothing is validated"),
        (["--model=DiffRec", "--train_neg_sample_args={'sample_num': 3}"], "samples no item"),
        (["--model=DiffRec", "--n_layers=3"], "DiffRec does not read it, only other models do"),
        (["--model=BPR", "--valid_metric_bigger=False"], "RecBole derives it"),
        (["--model=DiffRec", "--w_min=0.3"], "give --time-aware=True with it"),
        (["--model=CFGDiffRec", "--guidance_encoder=raw", "--guidance_embedding_size=7"], "guidance_encoder=embedding"),
        (["--model=CFGDiffRec", "--time_embedding=False", "--embedding_size=7"], "give --time_embedding=True with it"),
        (["--model=DiffRec", "--noise_schedule=cosine", "--noise_max=0.5"], "only the linear schedules read it"),
        (["--model=DiffRec", "--p_uncond=0.3"], "DiffRec does not read it, only other models do"),
    ],
)
def test_an_option_that_would_do_nothing_is_an_error(arguments, part, cli):
    rows = [(f"u{user}", f"i{item}", item % 5, item) for user in range(9) for item in range(user, user + 15)]
    write_inter(Path("dataset"), "rated", rows, "user_id:token\titem_id:token\trating:float\ttimestamp:float")
    outcome = cli("--dataset=rated", f"--load_col={NUMBERS}", *arguments)
    assert outcome.status == 2 and "it would do nothing: " in outcome.err and part in outcome.err


def test_a_file_of_settings_may_have_hyperparameters_that_others_switch_off(tiny, cli):
    Path("tuned.yaml").write_text("guidance_encoder: raw\nguidance_embedding_size: 7\n")
    arguments = ("--model=CFGDiffRec", f"--dataset={tiny}", "--epochs=1", "--config_files=tuned.yaml")
    assert cli(*arguments).status == 0


def test_an_option_of_another_model_is_read_where_it_is_its_default(tiny, cli):
    assert cli("--model=DiffRec", f"--dataset={tiny}", "--epochs=1", "--noise_seed=2020").status == 0


@pytest.mark.parametrize(
    ("model", "option", "message"),
    [
        ("BPR", "embedding_size=abc", "embedding_size: expected a number, such as 64, got 'abc'"),
        ("LightGCN", "reg_weight=[1]", "reg_weight: expected a number, such as 1e-05, got [1]"),
        ("LightGCN", "reg_weight=1e999", "reg_weight: expected a finite number"),
        ("MultiVAE", "mlp_hidden_size=600", "mlp_hidden_size: expected a list, such as [600], got 600"),
        ("BPR", "embedding_size=0", "embedding_size: expected at least 1, such as 64, got 0"),
        ("SLIMElastic", "hide_item=1", "hide_item: expected True or False, such as True, got 1"),
    ],
)
def test_hyperparameters_of_recboles_models_are_of_their_kind(model, option, message, tiny, cli):
    outcome = cli(f"--model={model}", f"--dataset={tiny}", f"--{option}")
    assert outcome.status == 2 and f"error: {message}" in outcome.err


def test_a_checkpoint_of_recboles_diffrec_may_hold_options_of_ours_that_it_once_had(tiny):
    folder = trained("RecBoleDiffRec", tiny)
    changed(folder, lambda state: state["options"].update(sampler="ddpm", input_scale=1.0, torch_compile=False))
    config = load_data_and_model(folder)[0]
    assert "sampler" not in config.options and config["train_batch_size"] == 400
    changed(folder, lambda state: state["options"].update(guidance_scale=1.0))
    refuses(folder, "refused, it sets guidance_scale")
