"""A user's mistakes: one clear line, exit status 2, and no training."""

import itertools
from pathlib import Path

import pytest

from conftest import write_inter
from recbole_cfgdiff import data
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.overlay.trainer import CheckpointTrainer


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("training started")

    monkeypatch.setattr(CheckpointTrainer, "fit", fit)


def fails_with(outcome, *parts):
    assert outcome.status == 2
    lines = outcome.err.strip().splitlines()
    assert lines[-1].startswith("error: ") and "Traceback" not in outcome.err
    for part in parts:
        assert part in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--model=CFGDifRec", "--dataset=tiny"], ["unknown model CFGDifRec; nearest: CFGDiffRec"]),
        (["--model=DiffRec", "--dataset=ml-1mm"], ["unknown dataset ml-1mm", "dataset/ml-1mm/ml-1mm.inter", "ml-1m"]),
        (["--model=DiffRec", "--dataset=tinny"], ["unknown dataset tinny", "nearest: tiny"]),
        (["--model=CFGDifRec"], ["unknown model CFGDifRec; nearest: CFGDiffRec"]),
        (["--model=DiffRec"], ["dataset: none given; add --dataset=NAME"]),
        (["--dataset=tiny"], ["model: none given; add --model=NAME"]),
        (["--guidance_scael=2"], ["unknown option guidance_scael (did you mean guidance_scale?)"]),
        (["--modle=DiffRec", "--dataset=tiny"], ["model: none given", "is --modle meant for it?"]),
        (["steps=3"], ["expected --key=value, got steps=3"]),
        (["--steps"], ["expected --key=value, got --steps; write --steps=VALUE"]),
        (["--steps=3", "--steps=4"], ["--steps is given twice: 3 and 4"]),
        (["--config_files=none.yaml"], ["config_files: there is no file none.yaml"]),
        (["--p_uncond=1.2"], ["p_uncond: expected a finite number in [0, 1], got 1.2"]),
        (["--p_uncond=half"], ["p_uncond: expected a finite number in [0, 1], got 'half'"]),
        (["--guidance_scale=nan"], ["guidance_scale: expected a finite number, got 'nan'"]),
        (
            ["--guidance_encoder=attention"],
            ["guidance_encoder: expected one of raw, embedding, sequence, got 'attention'"],
        ),
        (["--guidance_embedding_size=0"], ["guidance_embedding_size: expected an integer of at least 1, got 0"]),
        (["--steps=0"], ["steps: expected an integer of at least 1, got 0"]),
        (["--steps=2.5"], ["steps: expected an integer of at least 1, got 2.5"]),
        (["--sampling_steps=6"], ["sampling_steps: expected at most steps (5), got 6"]),
        (["--noise_scale=500"], ["betas out of range: beta is 1.375 at step 2"]),
        (["--noise_scale=1e999"], ["noise_scale: expected a finite number of at least 0, got inf"]),
        (["--noise_max=nan"], ["noise_max: expected a finite number of at least 0, got 'nan'"]),
        (["--noise_schedule=sqrt"], ["noise_schedule: expected one of linear, linear-var, cosine, binomial"]),
        (["--mean_type=[]"], ["mean_type: expected one of x0, eps, got []"]),
        (["--noise_schedule={}"], ["noise_schedule: expected one of linear, linear-var, cosine, binomial, got {}"]),
        (["--train_batch_size=9223372036854775808"], ["train_batch_size: expected an integer below 2^63"]),
        (["--mean_type=x1"], ["mean_type: expected one of x0, eps, got 'x1'"]),
        (["--dims_dnn=300"], ["dims_dnn: expected a non-empty list of positive integers"]),
        (["--mlp_act_func=gelu"], ["mlp_act_func: expected one of tanh"]),
        (["--dropout_prob=-0.1"], ["dropout_prob: expected a finite number in [0, 1], got -0.1"]),
        (["--input_scale=0"], ["input_scale: expected auto or a positive number, got 0"]),
        (["--output_scale=high"], ["output_scale: expected auto or a positive number, got 'high'"]),
        (["--output_scale=0"], ["output_scale: expected auto or a positive number, got 0"]),
        (["--output_scale=0.1", "--mean_type=eps"], ["output_scale: expected 1 with mean_type eps", "got 0.1"]),
        (["--reweight=1"], ["reweight: expected True or False, got 1"]),
        (["--learning_rate=-1"], ["learning_rate: expected a finite number of at least 0, got -1"]),
        (["--epochs=abc"], ["epochs: expected an integer of at least 0, got 'abc'"]),
        (["--seed=-1"], ["seed: expected an integer of at least 0, got -1"]),
        (["--seed=4294967296"], ["seed: expected an integer below 2^32"]),
        (["--eval_step=abc"], ["eval_step: expected an integer, got 'abc'"]),
        (["--train_batch_size=0"], ["train_batch_size: expected an integer of at least 1, got 0"]),
        (["--state=LOUD"], ["state: expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got 'LOUD'"]),
        (["--clip_grad_norm=5"], ["clip_grad_norm: expected such as {'max_norm': 5, 'norm_type': 2}, got 5"]),
        (["--clip_grad_norm={'max_norm': -5}"], ["clip_grad_norm: expected such as"]),
        (["--worker=500"], ["worker: expected at most 256, got 500"]),
        (["--model=BPR", "--train_neg_sample_args={'by': 2}"], ["train_neg_sample_args: expected such as", "by"]),
        (
            ["--model=BPR", "--train_neg_sample_args={'sample_num': 0}"],
            ["sample_num: expected an integer of at"],
        ),
        (["--model=BPR", "--train_neg_sample_args={'sample_num': 100000}"], ["sample_num: expected at most 10000"]),
        (["--model=BPR", "--train_neg_sample_args={'dynamic': True}"], ["candidate_num: expected an integer of at"]),
        (["--model=BPR", "--train_neg_sample_args={'alpha': 3}"], ["alpha would do nothing"]),
        (["--model=BPR", "--train_neg_sample_args=None"], ["BPR learns from pairs of items", "one is sampled"]),
        (["--model=SASRec", "--loss_type=BPR"], ["SASRec learns from pairs of items here"]),
        (
            ["--unused_col={'inter': ['nope']}"],
            ["unused_col: no column 'nope' is loaded, but user_id"],
        ),
        (["--seq_len={'nope': 1}"], ["seq_len: no column 'nope' is loaded"]),
        (["--seq_len={'timestamp': -1}"], ["seq_len: timestamp: expected an integer of at least 1, got -1"]),
        (["--alias_of_user_id=['nope']"], ["alias_of_user_id: no column 'nope' is loaded"]),
        (["--normalize_field=['nope']"], ["normalize_field: no column 'nope' is loaded"]),
        (["--topk=0"], ["topk: expected positive integers, such as [5, 10], got 0"]),
        (["--topk=[10, 1000]"], ["topk: 1000 is more than the 40 items there are"]),
        (["--topk=5"], ["such as Recall@5, the default NDCG@10 is none of them"]),
        (["--metrics=[]"], ["metrics: expected a list of names, such as ['Recall', 'NDCG'], got []"]),
        (["--eval_args=5"], ["eval_args: expected such as {'order': 'TO', 'mode': 'full'}, got 5"]),
        (["--eval_args={'mode': 'uni-5'}"], ["eval_args: mode: expected full, labeled, uniN or popN", "'uni-5'"]),
        (["--eval_args={'group_by': 5}"], ["eval_args: group_by: expected one of user, none, None, got 5"]),
        (["--eval_args={'split': {'RS': [0.8, 0.2]}}"], ["split: RS: expected three ratios", "[0.8, 0.2]"]),
        (["--eval_args={'split': {'XX': 1}}"], ["split: expected such as {'RS': [0.7, 0.2, 0.1]}, got {'XX': 1}"]),
        (["--benchmark_filename=['train']"], ["benchmark_filename: expected the names of three parts"]),
        (["--load_col={'user': ['user_id']}"], ["load_col: expected columns user_id, item_id of inter"]),
        (["--unload_col={'inter': ['item_id']}"], ["load_col, unload_col: expected user_id, item_id of", "tiny.inter"]),
        (["--unload_col=abc"], ["unload_col: expected such as {'inter': ['rating']}, got 'abc'"]),
        (["--enable_amp=1"], ["enable_amp: expected True or False, got 1"]),
        (["--USER_ID_FIELD=1"], ["USER_ID_FIELD: expected the name of a column, got 1"]),
        (["--TIME_FIELD=[]"], ["TIME_FIELD: expected the name of a column, got []"]),
        (["--run_name=../x"], ["run_name: expected the name of a folder below checkpoint_dir, got '../x'"]),
        (["--run_name==1+1"], ["run_name: expected a name that does not begin with =, got '=1+1'"]),
        (["--run_name=a/\x1b[1m"], ["run_name: expected a name without control characters", r"'\x1b[1m'"]),
        (["--checkpoint_dir=-x"], ["checkpoint_dir: expected a name that does not begin with -, got '-x'"]),
        (["--model=DiffRec", "--dataset=-x"], ["dataset: expected a name that does not begin with -, got '-x'"]),
        (["--model=DiffRec", "--dataset=a\u2028b"], ["dataset: expected a name without control characters"]),
        (["--model=DiffRec", "--dataset=a\udcffb"], ["dataset: expected a name without control characters"]),
        (
            ["--benchmark_filename=['a', '../b', 'c']"],
            ["benchmark_filename: expected the name of a file", "'../b'"],
        ),
        (
            ["--additional_feat_suffix=['../x']"],
            ["additional_feat_suffix: expected the suffix of a file"],
        ),
        (["--additional_feat_suffix={'a': 1}"], ["additional_feat_suffix: expected such as ['ent'], got {'a': 1}"]),
        (
            ["--learner=adamm"],
            ["learner: expected one of adam, adamw, sgd, ", "'adamm'"],
        ),
        (["--unused_col=rating"], ["unused_col: expected such as {'inter': ['rating']}, got 'rating'"]),
        (["--normalize_all=1"], ["normalize_all: expected True or False, got 1"]),
        (["--normalize_field=[[[]]]"], ["normalize_field: expected such as ['age'], got [[[]]]"]),
        (["--normalize_field=age"], ["normalize_field: expected such as ['age'], got 'age'"]),
        (["--seq_separator="], ["seq_separator: expected text, got ''"]),
        (["--repeatable=1"], ["repeatable: expected True or False, got 1"]),
        (["--MAX_ITEM_LIST_LENGTH=0"], ["MAX_ITEM_LIST_LENGTH: expected an integer of at least 1"]),
        (["--run_name=.."], ["run_name: expected the name of a folder", "got '..'"]),
        (["--heldout_users=0.999"], ["heldout_users: a share of 0.999 of 60 users leaves none to train on"]),
        (["--encoding=-1"], ["encoding: expected the name of an encoding, such as utf-8, got -1"]),
        (["--encoding=foo"], ["encoding: unknown encoding: foo"]),
        (["--encoding=rot13"], ["encoding: 'rot13' is not a text encoding"]),
        (["--encoding=utf-16"], ["tiny.inter, line 1: not utf-16 text"]),
        (["--field_separator="], ["field_separator: expected one or more characters, got ''"]),
        (["--full_sort_eval_batch_size=abc"], ["full_sort_eval_batch_size: expected an integer of at least 1"]),
        (["--val_interval=5"], ["val_interval: expected such as {'rating': '[4,inf)'}, got 5"]),
        (["--model=DiffRec", "--dataset=../tiny"], ["dataset: expected the name of a file or folder, got '../tiny'"]),
        (["--log_wandb=True"], ["log_wandb: the package wandb is missing: pip install wandb"]),
        (["--metrics=['NDCGG']"], ["metrics: there is no metric NDCGG (did you mean NDCG?)"]),
        (["--metrics=['NDCG', 'Accuracy']"], ["metrics: there is no metric Accuracy; there are AUC, "]),
        (
            ["--eval_args={'split': {'RS': [0.7, 0.2, 0.1]}, 'order': 'XO'}"],
            ["eval_args: order: expected one of TO, RO"],
        ),
        (["--val_interval={'timestamp': '[9e9,inf)'}"], ["data set tiny", "check the filtering settings"]),
        (["--user_inter_num_interval=[1000,inf)"], ["data set tiny", "check the filtering settings"]),
        (["--TIME_FIELD=when"], ["data set tiny: no column 'when' to order by is loaded"]),
        (["--metrics=['AUC', 'NDCG']"], ["metrics: AUC is of labels and NDCG of rankings; a run has one kind"]),
        (["--metrics=['AUC']"], ["valid_metric: expected one of metrics, such as AUC, the default NDCG@10 is none"]),
        (["--metrics=['AUC']", "--valid_metric=AUC@10"], ["expected one of metrics, such as AUC, got AUC@10"]),
        (["--metrics=['GAUC']", "--valid_metric=GAUC@10"], ["expected one of metrics, such as GAUC, got GAUC@10"]),
        (["--valid_metric=NDCG"], ["valid_metric: expected one of metrics at one of topk, such as Recall@1, got NDCG"]),
        (["--metrics=['AUC']", "--valid_metric=AUC"], ["AUC is of labels; expected mode labeled or uniN, got 'full'"]),
        (["--eval_args={'mode': 'labeled'}"], ["metrics: Recall is of rankings, and with mode labeled there are none"]),
        (
            ["--eval_args={'mode': {'valid': 'full', 'test': 'labeled'}}"],
            ["expected labeled for valid and test, or for"],
        ),
        (["--eval_args={'mode': 'uni10'}"], ["topk: 20 is more than the 11 items that mode uni10 is sure to rank"]),
        (
            ["--eval_args={'mode': 'labeled'}", "--metrics=['AUC']", "--valid_metric=AUC"],
            ["eval_args: mode: labeled: expected a column label:float, found user_id, item_id, timestamp; name it"],
        ),
        (
            ["--eval_args={'split': {'LS': 'last'}}"],
            ["split: LS: expected one of valid_and_test, valid_only, test_only"],
        ),
        (["--eval_args={'split': {'RS': [1, 1, 1e999]}}"], ["split: RS: expected three ratios"]),
        (
            ["--eval_args={'split': {'LS': 'test_only'}, 'group_by': 'none'}"],
            ["group_by: LS splits the rows of each user"],
        ),
        (["--eval_args={'split': {'TS': [8, 1, 1]}, 'order': 'RO'}"], ["order: TS splits by time; expected TO"]),
        (["--field_separator='\\n'"], ["field_separator: expected neither a quote nor a line break"]),
        (["--resume=nowhere"], ["checkpoint nowhere: there is no such file"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("-") else "",
)
def test_one_clear_line_and_exit_2(arguments, parts, tiny, cli):
    named = any(argument.startswith(("--model", "--dataset")) for argument in arguments)
    given = [] if named else ["--model=CFGDiffRec", f"--dataset={tiny}"]
    if arguments[0] in ("--model=BPR", "--model=SASRec"):
        given = [f"--dataset={tiny}"]
    fails_with(cli(*given, *arguments), *parts)


HEADER = "user_id:token\titem_id:token\ttimestamp:float"


@pytest.mark.parametrize(
    ("header", "rows", "parts"),
    [
        (HEADER, [("u", "i", 1), ("u", "j")], ["bad.inter, line 3: expected 3 fields, found 2"]),
        (HEADER, [("u", "i", 1, 9)], ["bad.inter, line 2: expected 3 fields, found 4"]),
        (HEADER, [("u", "i", "noon")], ["bad.inter, line 2: expected a number for timestamp, found 'noon'"]),
        (HEADER, [("u", "i", "inf")], ["bad.inter, line 2: expected a number for timestamp, found 'inf'"]),
        (HEADER, [("", "i", 1)], ["bad.inter, line 2: expected an id for user_id, found nothing"]),
        (HEADER, [("u", "NA", 1)], ["line 2: expected an id for item_id, found 'NA', which RecBole takes for none"]),
        (HEADER, [("u", "i", "")], ["bad.inter, line 2: expected a number for timestamp, found ''"]),
        (HEADER.replace("float", "token"), [("u", "i", 1)], ["the times to order by must be numbers", "of type token"]),
        ("\ufeff" + HEADER, [("u", "i", 1)], ["bad.inter, line 1", "byte order mark (encoding: utf-8-sig reads it)"]),
        ("user_id item_id", [("u", "i")], ["bad.inter, line 1: expected name:type"]),
        ("user_id:token\tname:token", [("u", "i")], ["bad.inter, line 1: expected a column item_id:token"]),
        ("user_id:token\titem_id:token", [("u", "i")], ["data set bad: no column 'timestamp' to order by is loaded"]),
        (HEADER, [], ["bad.inter: expected rows below the header, found none"]),
        (
            HEADER.replace("user_id:token", "user_id:float"),
            [(1, "i", 1)],
            ["line 1: expected user_id:token, as ids are"],
        ),
        (HEADER.replace("item_id:token", "item_id:token_seq"), [("u", "i", 1)], ["found item_id:token_seq"]),
        (HEADER + "\ttimestamp:float", [("u", "i", 1, 1)], ["bad.inter, line 1: the column timestamp stands twice"]),
        (HEADER.replace("\t", ","), [("u,i,1",)], ["bad.inter, line 1: expected", "give --field_separator=','"]),
        (HEADER.replace("\t", " "), [("u i 1",)], ["bad.inter, line 1: expected", "give --field_separator=' '"]),
        (
            HEADER,
            [("u", "i", 1), ("u,j,2",)],
            ["line 3: expected 3 fields, found 1; they are to be separated by a tab"],
        ),
        (
            HEADER,
            [("u", "i", 1), ("u", '"Great', 2)],
            ["bad.inter, line 3: expected fields without quotes", "convert csv"],
        ),
        (HEADER, [("u", '"Heroes" x', 1)], ["bad.inter, line 2: expected fields without quotes", "convert csv"]),
        (HEADER, [("u", '"a', 1), ("u", 'b"', 2)], ["bad.inter, line 2:", "the field goes on to line 3"]),
        (HEADER, [("u", "i", 1), ("u", "j\0", 2)], ["bad.inter, line 3: found a NUL byte"]),
        (HEADER, [("u", "i" * 1001, 1)], ["bad.inter, line 2: expected an id of at most 1000 characters for item_id"]),
        (HEADER, [("u", "i" * (1 << 24), 1)], ["bad.inter, line 2: expected a line of at most 16,777,216 characters"]),
        (HEADER, [("u", "i", "1e39")], ["bad.inter, line 2: expected a number for timestamp, found '1e39'"]),
        (HEADER, [("u", "i", 1), ("v", "j", 2)], ["data set bad: the validation part of the split", "is empty"]),
    ],
    ids=str,
)
def test_a_malformed_file_is_named_with_its_line(header, rows, parts, empty_folder, cli):
    write_inter(empty_folder / "dataset", "bad", rows, header)
    fails_with(cli("--model=CFGDiffRec", "--dataset=bad"), *parts)


def test_features_without_their_ids_are_refused(tiny, cli):
    Path("dataset/tiny/tiny.item").write_text("item_id:token\tprice:float\ni1\t2\n")
    columns = "{'inter': ['user_id', 'item_id', 'timestamp'], 'item': ['price']}"
    fails_with(cli("--model=DiffRec", "--dataset=tiny", f"--load_col={columns}"), "expected item_id of", "tiny.item")


def test_an_unknown_data_set_is_told_before_the_log_begins(tiny, cli):
    fails_with(cli("--model=DiffRec", "--dataset=tinny"), "unknown dataset tinny")
    assert not Path("log").exists()


def test_a_missing_file_is_named(empty_folder, cli):
    (empty_folder / "dataset" / "empty").mkdir(parents=True)
    fails_with(cli("--model=CFGDiffRec", "--dataset=empty"), "expected the file dataset/empty/empty.inter")


def test_text_in_another_encoding_is_named(empty_folder, cli):
    write_inter(empty_folder / "dataset", "latin", [("u", "i", 1)])
    path = empty_folder / "dataset" / "latin" / "latin.inter"
    path.write_bytes(path.read_bytes() + "Zoë\ti\t2\n".encode("latin-1"))
    fails_with(cli("--model=CFGDiffRec", "--dataset=latin"), "latin.inter, line 3: not utf-8 text")


def test_recency_weights_need_times(empty_folder, cli):
    rows = [(f"u{user}", f"i{item}") for user in range(5) for item in range(user, user + 20)]
    write_inter(empty_folder / "dataset", "timeless", rows, "user_id:token\titem_id:token")
    order = "--eval_args={'order': 'RO', 'split': {'RS': [0.7, 0.2, 0.1]}}"
    outcome = cli("--model=DiffRec", "--dataset=timeless", order, "--time-aware=True")
    fails_with(outcome, "time-aware: the data set timeless has no column 'timestamp'")


def test_no_ratings_to_filter_by_is_named(empty_folder, cli):
    write_inter(empty_folder / "dataset", "ml-1m", [("u", "i", 1)])
    fails_with(cli("--model=CFGDiffRec", "--dataset=ml-1m"), "data set ml-1m", "rating")


OF_FILE = {"inter": ["user_id", "item_id", "timestamp"]}


@pytest.mark.parametrize(
    ("suffix", "content", "parts"),
    [
        (
            "item",
            "item_id:float\tprice:float\n1\t2\n",
            ["line 1: expected item_id:token, as ids are, found item_id:float"],
        ),
        ("item", "item_id:token,price:float\n", ["line 1: expected name:type", "give --field_separator=','"]),
        ("item", "item_id:token\tprice:float\n", ["tiny.item: expected rows below the header, found none"]),
        ("item", "", ["tiny.item: expected a header of name:type fields, the file is empty"]),
        ("item", "item_id:token\tprice:float\ni1\t\n", ["tiny.item: expected a number for price in some line"]),
        ("item", "item_id:token\tprice:float_seq\ni1\t1 x\n", ["line 2: expected numbers for price, found '1 x'"]),
        ("user", 'user_id:token\tname:token\nu1\t"Ann\n', ["tiny.user, line 2: expected fields without quotes"]),
        (
            "user",
            "user_id:token\tname:token\n\tAnn\n",
            ["tiny.user, line 2: expected an id for user_id, found nothing"],
        ),
        ("net", "a:token\tb:float\nx\ty\n", ["tiny.net, line 2: expected a number for b, found 'y'"]),
        ("net", "a:token\ta:token\nx\ty\n", ["tiny.net, line 1: the column a stands twice"]),
    ],
)
def test_other_files_are_named_with_their_line_too(suffix, content, parts, tiny, cli):
    Path(f"dataset/tiny/tiny.{suffix}").write_text(content)
    options = ["--additional_feat_suffix=['net']"] if suffix == "net" else []
    columns = "--load_col=" + str({**OF_FILE, suffix: "*"})
    fails_with(cli("--model=DiffRec", "--dataset=tiny", columns, *options), *parts)


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("kg", None, ["load_col: kg: there is no file dataset/tiny/tiny.kg"]),
        ("kg", "head_id:token\trelation_id:token\na\tb\n", ["tiny.kg, line 1: expected a column tail_id:token"]),
        (
            "kg",
            "head_id:token\trelation_id:token\ttail_id:token\na\tr\tb\na\t\tb\n",
            ["tiny.kg, line 3: expected an id"],
        ),
        (
            "link",
            "item_id:token\tentity_id:float\ni1\t1\n",
            ["tiny.link, line 1: expected entity_id:token, as ids are"],
        ),
    ],
)
def test_files_of_a_knowledge_graph_are_checked(name, content, parts, tiny, cli):
    files = {
        "kg": "head_id:token\trelation_id:token\ttail_id:token\na\tr\tb\n",
        "link": "item_id:token\tentity_id:token\ni1\ta\n",
        name: content,
    }
    for suffix, text in files.items():
        if text is not None:
            Path(f"dataset/tiny/tiny.{suffix}").write_text(text)
    columns = {**OF_FILE, "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
    fails_with(cli("--model=CFKG", "--dataset=tiny", f"--load_col={columns}"), *parts)


def test_line_ends_and_blank_lines_lose_no_row(tiny):
    path = Path("dataset/tiny/tiny.inter")
    lines = path.read_text().splitlines()
    expected = len(lines) - 1
    mixed = "".join(line + end for line, end in zip(lines, itertools.cycle(["\n", "\r\n", "\n\n", "\r", "\n  \n"])))
    for content in (mixed, "\r\n".join(lines), "\r".join(lines)):
        path.write_bytes(content.encode())
        assert len(data.create_dataset(Config("Pop", tiny)).inter_feat) == expected


def test_an_empty_row_of_a_given_split_is_not_read_as_a_user(empty_folder, cli):
    for part in ("train", "valid", "test"):
        write_inter(empty_folder / "dataset", "given", [("u", "i", 1), ("", "", "")])
        Path("dataset/given/given.inter").rename(f"dataset/given/given.{part}.inter")
    parts = "--benchmark_filename=['train','valid','test']"
    fails_with(cli("--model=Pop", "--dataset=given", parts), "given.test.inter, line 3: expected an id for user_id")


def test_parts_of_a_given_split_have_the_same_columns(empty_folder, cli):
    for part, header in (("train", HEADER), ("valid", HEADER), ("test", HEADER.rpartition("\t")[0])):
        write_inter(empty_folder / "dataset", "given", [("u", "i", 1)[: 1 + header.count("\t")]], header)
        Path("dataset/given/given.inter").rename(f"dataset/given/given.{part}.inter")
    parts = "--benchmark_filename=['train','valid','test']"
    fails_with(cli("--model=Pop", "--dataset=given", parts), "given.test.inter: expected columns", "timestamp:float")


def test_labels_are_needed_in_each_row(empty_folder, cli):
    rows = [(f"u{user}", f"i{item}", item, item % 2) for user in range(5) for item in range(9)]
    header = HEADER + "\tlabel:float"
    measured = [
        "--eval_args={'mode': 'labeled'}",
        "--metrics=['AUC']",
        "--valid_metric=AUC",
        "--load_col={'inter': '*'}",
    ]
    write_inter(empty_folder / "dataset", "labeled", [*rows, ("u1", "i20", 99, "")], header)
    arguments = ["--model=BPR", "--dataset=labeled", *measured]
    fails_with(cli(*arguments), "labeled.inter, line 47: expected a number for label, found ''")


def test_knowledge_aware_models_are_refused(tiny, cli):
    folder = Path("dataset/tiny")
    triples = "".join(f"e{item}\tr\te0\n" for item in range(40))
    (folder / "tiny.kg").write_text(f"head_id:token\trelation_id:token\ttail_id:token\n{triples}")
    links = "".join(f"i{item}\te{item}\n" for item in range(40))
    (folder / "tiny.link").write_text(f"item_id:token\tentity_id:token\n{links}")
    columns = "{'inter': ['user_id', 'item_id', 'timestamp'], 'kg': '*', 'link': '*'}"
    fails_with(cli("--model=CFKG", "--dataset=tiny", f"--load_col={columns}"), "model CFKG", "not supported")


@pytest.mark.parametrize("separator", ["A|(?:x+x+)+y|B", "||", ".*"])
def test_a_separator_that_is_an_expression_is_refused(separator, tiny, cli):
    """pandas takes one of several characters for a regular expression, of which some never end."""
    outcome = cli("--model=Pop", "--dataset=tiny", f"--field_separator={separator}")
    fails_with(outcome, "field_separator: expected one character, or several without any of")


def test_a_home_folder_is_found_behind_an_equals_sign(tiny, cli, monkeypatch):
    monkeypatch.setenv("HOME", str(Path.cwd() / "home"))
    Path("home").mkdir()
    Path("dataset").rename("home/dataset")
    fails_with(cli("--model=Pop", "--dataset=tinny", "--data_path=~/dataset"), "home/dataset/tinny", "nearest: tiny")
