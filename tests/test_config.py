import sys

import numpy as np
import pytest
from recbole.model.general_recommender import MultiVAE
from recbole.model.general_recommender.diffrec import DiffRec as RecBolesDiffRec

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.model import MODELS, CFGDiffRec, DiffRec
from recbole_cfgdiff.overlay.config import Config, parse_literal, resolve_model


def a_config(model="CFGDiffRec", dataset="ml-100k", files=None, **options):
    return Config(model, dataset, files, options)


def test_model_names():
    assert resolve_model("DiffRec") is DiffRec
    assert issubclass(resolve_model("RecBoleDiffRec"), RecBolesDiffRec)
    assert resolve_model("MultVAE") is resolve_model("MultiVAE") is MultiVAE
    assert a_config("MultVAE")["model"] == "MultiVAE"


@pytest.mark.parametrize(("name", "similar"), [("cfgdifrec", "CFGDiffRec"), ("LightGNC", "LightGCN"), ("pop", "Pop")])
def test_an_unknown_model_is_an_error_with_the_nearest_names(name, similar):
    with pytest.raises(ConfigError, match=f"unknown model {name}; nearest: .*{similar}"):
        resolve_model(name)


def test_layers_of_yaml_files_lie_in_order(tmp_path):
    config = a_config()
    assert config["metrics"] == ["Recall", "NDCG", "Precision", "MRR"]  # our overall over RecBole's
    assert config["learner"] == "adam"  # RecBole's overall
    assert config["train_batch_size"] == 400  # our model over RecBole's overall
    assert config["val_interval"] == {"rating": "[4,inf)"}  # our data set
    assert config["MAX_ITEM_LIST_LENGTH"] == 50  # RecBole's data set
    assert a_config("EASE")["reg_weight"] == 250.0  # RecBole's model
    assert a_config("SASRec", train_neg_sample_args=None)["repeatable"] is True  # RecBole's kind of model
    assert a_config(dataset="unheard-of")["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    file = tmp_path / "a.yaml"
    file.write_text("steps: 7\nnoise_scale: 0.3\n")
    later = tmp_path / "b.yaml"
    later.write_text("steps: 8\nnoise_min: 1e-3\n")
    config = a_config(files=[str(file), str(later)], noise_scale="0.5")
    assert (config["steps"], config["noise_scale"], config["noise_min"]) == (8, 0.5, 0.001)


def test_every_own_yaml_key_has_a_comment_with_its_type():
    from recbole_cfgdiff.properties import PROPERTIES

    for path in PROPERTIES.rglob("*.yaml"):
        for line in path.read_text().splitlines():
            if line and not line.startswith(("#", " ", "eval_args:")):
                assert "# (" in line, f"{path.name}: {line}"


def test_a_part_of_eval_args_leaves_the_rest_at_our_defaults():
    given = a_config(eval_args="{'mode': 'uni100'}")["eval_args"]
    assert given == {**a_config()["eval_args"], "mode": {"valid": "uni100", "test": "uni100"}}


class Variant(CFGDiffRec):
    """A user's own model."""


def test_a_models_subclass_takes_its_files():
    config = a_config(Variant, guidance_scale="2")
    assert (config["model"], config["steps"], config["p_uncond"]) == ("Variant", 5, 0.2)
    assert config["guidance_scale"] == 2
    assert a_config("RecBoleDiffRec")["noise_scale"] == a_config("DiffRec")["noise_scale"] == 0.001


def test_numpy_numbers_are_numbers_and_other_objects_are_refused():
    config = a_config(steps=np.int64(3), learning_rate=np.float64(0.25))
    assert (config.options["steps"], config.options["learning_rate"]) == (3, 0.25)
    with pytest.raises(ConfigError, match="steps: expected a plain value"):
        a_config(steps=object())


def test_a_list_of_gpus_survives_a_checkpoint():
    assert a_config(gpu_id="0,1").options["gpu_id"] == "0,1"
    assert Config("Pop", "ml-100k", config_dict=a_config(gpu_id="0,1").options)["gpu_id"] == "0,1"


def test_context_aware_models_keep_recboles_settings_of_ml_100k():
    config = a_config("FM")
    assert config["valid_metric"] == "AUC" and config["threshold"] == {"rating": 4} and not config["val_interval"]


def test_options_never_come_from_sys_argv(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--steps=9", "--unheard_of=1"])
    assert a_config()["steps"] == 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("[1, 5]", [1, 5]),
        ("{'RS': [0.8, 0.1, 0.1]}", {"RS": [0.8, 0.1, 0.1]}),
        ("None", None),
        ("true", True),
        ("False", False),
        ("linear-var", "linear-var"),
        ("[0,inf)", "[0,inf)"),
        ("1/0", "1/0"),
        ("{1, 2}", "{1, 2}"),
        ("__import__('os').getpid()", "__import__('os').getpid()"),
    ],
)
def test_text_is_read_as_a_literal_and_never_run(text, value):
    assert parse_literal(text) == value


@pytest.mark.parametrize(
    ("name", "similar"), [("guidence_scale", "guidance_scale"), ("train_batchsize", "train_batch_size")]
)
def test_a_misspelt_option_is_an_error_with_the_nearest_name(name, similar):
    with pytest.raises(ConfigError, match=rf"unknown option {name} \(did you mean {similar}\?\): nothing reads it"):
        a_config(**{name: "1"})
    with pytest.raises(ConfigError, match=r"unknown key of eval_args: oder \(did you mean order\?\)"):
        a_config(eval_args="{'oder': 'TO'}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("norm", True),
        ("tail_ratio", 1),
        ("encoding", "latin-1"),
        ("wandb_project", "mine"),
        ("discretization", {"age": {}}),
        ("token_num_threshold", 1),
    ],
)
def test_options_that_only_recboles_code_names_are_known(name, value):
    assert a_config(**{name: str(value)})[name] == value


def test_options_that_only_other_models_read_are_known():
    assert a_config(n_layers="3", steps="3").unread_options == ["n_layers"]
    assert a_config("LightGCN", n_layers="3", tail_ratio="0.2").unread_options == []
    assert a_config(reg_weight="3").unread_options == ["reg_weight"]
    masked = {"train_neg_sample_args": None, "transform": "mask_itemseq", "mask_ratio": "0.2"}
    assert a_config("SASRec", **masked).unread_options == []


def test_every_option_of_every_yaml_file_is_known():
    for name in MODELS:
        config = a_config(name)
        a_config(name, **{key: value for key, value in config.options.items() if key not in ("MODEL_TYPE",)})


def test_full_ranking_gets_large_batches_unless_they_are_given():
    assert a_config()["eval_batch_size"] == a_config("LightGCN")["eval_batch_size"] == 8388608
    assert a_config(eval_batch_size="5000")["eval_batch_size"] == 5000
    for mode, metric in (("uni100", "NDCG"), ("labeled", "AUC")):
        options = {"metrics": [metric], "valid_metric": {"NDCG": "NDCG@10"}.get(metric, metric)}
        assert a_config(eval_args=f"{{'mode': '{mode}'}}", **options)["eval_batch_size"] == 4096
    # NeuMF predicts pair by pair: a batch of users x items would be held with embeddings.
    assert a_config("NeuMF")["eval_batch_size"] == 4096
    assert a_config("SASRec", eval_args={"split": {"LS": "valid_and_test"}})["eval_batch_size"] == 4096


def test_the_options_make_the_same_config_again():
    config = a_config(steps="7", guidance_scale="2")
    again = Config(config["model"], config["dataset"], config_dict=config.options)
    for made, given in ((again.options, config.options), (again.final_config_dict, config.final_config_dict)):
        assert {key: str(value) for key, value in made.items()} == {key: str(value) for key, value in given.items()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("steps: [1", "a.yaml, line 1: expected ',' or ']'"),
        ("just text", "expected lines of `key: value`, found str"),
        ("", "expected lines of `key: value`, found nothing"),
        ("steps: 3\nseed: 1\nsteps: 4", "a.yaml, line 3: the key steps stands twice"),
        ("eval_args: {order: TO, order: RO}", "a.yaml, line 1: the key order stands twice"),
        ("3: 4", "expected lines of `key: value`, found other keys"),
        ("steps: !!python/name:os.system", "a.yaml, line 1: could not determine a constructor"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "\n".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]" for a, b in zip("abcde", "bcdef")),
            "found more than 100000 values",
        ),
        ("seed: " + "1" * 2**20, "found more than 1 MiB"),
        (
            "m0: &m0 {a0: 1, b0: 1}\n"
            + "".join(f"m{n + 1}: &m{n + 1} {{<<: [{', '.join([f'*m{n}'] * 10)}]}}\n" for n in range(9)),
            "more than 10000 keys|unknown option m0",  # since PyYAML 6.0.4 a key is merged once
        ),
        (
            "".join(f"m{n}: &m{n} {{{', '.join(f'k{n}_{k}: 1' for k in range(1000))}}}\n" for n in range(11))
            + f"all: {{<<: [{', '.join(f'*m{n}' for n in range(11))}]}}",
            "more than 10000 keys",
        ),
        (f"a: &a {'x' * 500_000}\nb: [{','.join(['*a'] * 100)}]", "or too much text"),
        ("seed: " + ":".join(["1"] * 10_000), "a number that is too long"),
    ],
    ids=lambda value: value[:20],
)
def test_a_bad_config_file_is_named(content, message, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        a_config(files=[str(file)])


def test_a_missing_config_file_is_named():
    with pytest.raises(ConfigError, match=r"there is no file absent\.yaml"):
        a_config(files=["absent.yaml"])


def test_shipped_config_files_are_found_from_any_folder():
    config = a_config(files=["properties/protocol/final_fit.yaml"])
    assert config["eval_args"]["split"] == {"RS": [0.8, 0, 0.2]}
