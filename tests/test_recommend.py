"""``recommend`` and ``export`` by the command line."""

import json
import logging

import pandas as pd
import pytest
from recommending import N_USERS, history_of, make_recommender

from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.recommender import Recommender


@pytest.fixture
def model(tmp_path):
    make_recommender().save_pretrained(tmp_path / "model")
    return Recommender.load(tmp_path / "model")


@pytest.fixture
def recommend(capfd):
    def call(*arguments, command="recommend"):
        status = main([command, "--checkpoint=model", *arguments])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


def items_of(out):
    return [line.split()[2] for line in out.splitlines()[2:]]


def test_known_users_with_titles(recommend, model):
    status, out, err = recommend("--users=u1,u2", "--topk=3")
    expected = model.recommend(users=["u1", "u2"], topk=3)
    assert (status, err) == (0, "") and items_of(out) == expected["item"].tolist() and "Film" in out


def test_somebody_new_by_a_history(recommend, model):
    status, out, _ = recommend("--history=i3,i1", "--topk=3", "--guidance_scale=2")
    assert (
        status == 0
        and items_of(out) == model.recommend(histories=[["i3", "i1"]], topk=3, guidance_scale=2.0)["item"].tolist()
    )
    status, out, _ = recommend("--history=", "--topk=3")
    assert status == 0 and items_of(out) == model.recommend(histories=[[]], topk=3)["item"].tolist()


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_everybody_into_a_file(ending, recommend, model, tmp_path):
    status, out, _ = recommend("--all-users", f"--output=lists/all{ending}")
    path = tmp_path / "lists" / f"all{ending}"
    read = {".csv": pd.read_csv, ".jsonl": lambda path: pd.read_json(path, lines=True), ".parquet": pd.read_parquet}
    table, expected = read[ending](path), model.recommend(users=list(model.known_users().ids.ids))
    assert status == 0 and f"{N_USERS} lists" in out and list(path.parent.iterdir()) == [path]
    pd.testing.assert_frame_equal(table, expected, check_dtype=False, atol=1e-6)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_where_no_item_is_left_the_file_has_no_row(ending, recommend, model, tmp_path, monkeypatch):
    (tmp_path / "candidates.txt").write_text(f"{history_of(model, 'u1')[0]}\n")
    monkeypatch.setattr("recbole_cfgdiff.recommender.recommender.SCORES", 31)  # a user a batch
    for whom in ("u1", "u1,u2,u1"):
        status, _, _ = recommend(f"--users={whom}", "--candidates=candidates.txt", f"--output=lists{ending}")
        assert status == 0
        read = {".csv": pd.read_csv, ".jsonl": lambda path: pd.read_json(path, lines=True), ".parquet": pd.read_parquet}
        table = read[ending](f"lists{ending}")
        assert len(table) == len(model.recommend(users=whom.split(","), candidates=history_of(model, "u1")[:1]))
        assert ending != ".jsonl" or "\n\n" not in "\n" + (tmp_path / "lists.jsonl").read_text()
    assert "no item is left" in recommend("--users=u1", "--candidates=candidates.txt")[1]


def test_titles_are_no_formulas_of_a_spreadsheet(recommend, tmp_path):
    recommender = make_recommender()
    recommender.items.table["title"] = "=1+1"
    recommender.save_pretrained(tmp_path / "formulas")
    assert main(["recommend", "--model=formulas", "--users=u1", "--output=lists.csv"]) == 0
    assert pd.read_csv("lists.csv")["title"].unique().tolist() == ["'=1+1"]


def test_users_candidates_and_exclusions_from_files(recommend, model, tmp_path):
    (tmp_path / "users.txt").write_text("u2\n\nu1\n")
    pd.DataFrame({"item_id": ["i1", "i2", "i3", "i4", "i5", "i6"]}).to_csv("candidates.csv")
    pd.DataFrame({"item": ["i4"]}).to_parquet("exclude.parquet")
    given = ("--users-file=users.txt", "--candidates=candidates.csv", "--exclude=exclude.parquet", "--include-seen")
    status, out, _ = recommend(*given)
    expected = model.recommend(users=["u2", "u1"], candidates=["i1", "i2", "i3", "i5", "i6"], include_seen=True)
    assert status == 0 and items_of(out) == expected["item"].tolist() and len(expected) == 10


@pytest.mark.parametrize("times", [["3", "1", "2", "9"], ["2024-05-03", "2024-05-01T10:00:00Z", "2024-05-02", "2025"]])
def test_histories_of_a_file_are_put_into_the_order_of_their_times(times, tmp_path, capfd):
    recommender = make_recommender("ForwardCFGDiffRec")
    recommender.save_pretrained(tmp_path / "model")
    rows = {"user": ["b", "b", "b", "a"], "item": ["i3", "i1", "i2", "i9"], "time": times}
    pd.DataFrame(rows).to_csv("new.csv", index=False)
    assert main(["recommend", "--checkpoint=model", "--histories=new.csv", "--topk=2", "--output=lists.jsonl"]) == 0
    lists = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    expected = recommender.recommend(histories=[["i1", "i2", "i3"], ["i9"]], topk=2)
    assert [each["user"] for each in lists] == ["b", "b", "a", "a"]
    assert [each["item"] for each in lists] == expected["item"].tolist()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "expected one of --users, --users-file, --all-users, --history, --histories, got none"),
        (("--users=u1", "--history=i1"), "got users and history"),
        (("--users=u1,who",), "users: 1 of 2 users are unknown to the model: 'who'"),
        (("--history=i1,i31",), "'i31' (nearest: 'i3')"),
        (("--users=u1", "--output=lists.xlsx"), "output: expected a name that ends in .csv, .jsonl or .parquet"),
        (("--users=u1", "--fish=1"), "unknown argument --fish=1"),
        (("--users=u1", "--topk=0"), "topk: expected an integer of at least 1, got 0"),
        (("--users-file=none.txt",), "none.txt: there is no such file"),
        (("--histories=new.txt",), "histories: expected a file that ends in .csv or .parquet"),
        (("--users=u1", "--candidates=empty.txt"), "empty.txt: expected items, found none"),
        (("--histories=gap.csv",), "gap.csv: row 2 below the header has no item"),
        (("--histories=late.csv",), "late.csv: row 1 below the header: expected a number or a date"),
        (("--histories=latin.csv",), "latin.csv: no CSV file in UTF-8"),
        (("--histories=wide.csv",), "wide.csv: the rows have more fields than the header, user, item"),
        (("--users=",), "users: expected somebody to recommend to, got nobody"),
        (("--users=,", "--output=lists.csv"), "users: expected somebody to recommend to, got nobody"),
        (
            ("--users=u1", "--guidance_scale=1e300", "--output=lists.csv"),
            "guidance_scale: expected a finite number of 32 bits",
        ),
        (("--histories=odd.csv",), "odd.csv: expected a column user or user_id, found who, item"),
    ],
)
def test_mistakes_are_one_line(arguments, told, recommend, model, tmp_path):
    files = {
        "empty.txt": b"\n",
        "gap.csv": b"user,item\na,i1\na,\n",
        "late.csv": b"user,item,time\na,i1,soon\n",
        "latin.csv": b"user,item\n\xe9,i1\n",
        "odd.csv": b"who,item\na,i1\n",
        "wide.csv": b"user,item\na,i1,i2\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    before = set(tmp_path.iterdir())
    status, out, err = recommend(*arguments)
    assert (status, out) == (2, "") and told in err and err.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


ODD = ["NA", "007", " 1", "1", "nan", '"q"', "a,b", "[PAD]", "100%41", "\u00e9\u4e2d", "x" * 300, "=1"]


def test_odd_ids_are_those_of_the_source(tmp_path, cli, caplog):
    """What atomic files have to escape is as it was, with its title, in lists, folders and what starts from them."""
    ids = ODD + [f"i{number}" for number in range(30)]
    rows = [(ids[user], ids[(user + time) % len(ids)], time) for user in range(len(ids)) for time in range(9)]
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_csv("log.csv", index=False)
    pd.DataFrame({"item": ids, "title": [f"Film {each}" for each in ids]}).to_csv("items.csv", index=False)
    given = ["--name=odd", "--user-col=user", "--item-col=item", "--time-col=time", "--items=items.csv"]
    assert main(["convert", "csv", "log.csv", *given]) == 0
    options = ("--model=CFGDiffRec", "--dataset=odd", "--epochs=1")
    assert cli(*options, "--run_name=run").status == 0
    recommender = Recommender.load("saved/run")
    for user in ids:
        assert history_of(recommender, user) == [item for of, item, _ in rows if of == user]
    recommender.save_pretrained(tmp_path / "model")
    for model in (recommender, Recommender.load(tmp_path / "model")):
        table = model.recommend(users=ODD, topk=len(ids), include_seen=True)
        assert (table["title"] == "Film " + table["item"]).all() and set(table["item"]) == set(ids)
        assert table["user"].unique().tolist() == ODD
    caplog.set_level(logging.INFO)
    for number, older in enumerate(("saved/run", "model")):
        assert cli(*options, f"--init_from={older}", f"--run_name=next{number}").status == 0
        assert f"Weights of {older} are those of {len(ids)} of {len(ids)} items here" in caplog.text


def test_a_run_end_to_end(tiny, cli, tmp_path, capfd):
    """Train, recommend for a known user and a new one, export, recommend from the folder."""
    items = "".join(f"i{number}\tFilm {number}\t{1990 + number}\n" for number in range(40))
    header = "item_id:token\tmovie_title:token_seq\tyear:float\n"
    (tmp_path / "dataset" / "tiny" / "tiny.item").write_text(header + items)
    assert cli("--model=CFGDiffRec", "--dataset=tiny", "--epochs=2", "--run_name=run").status == 0
    recommender = Recommender.load("saved/run")
    rows = pd.read_csv(tmp_path / "dataset" / "tiny" / "tiny.inter", sep="\t")
    everything = rows[rows["user_id:token"] == "u7"].sort_values("timestamp:float")["item_id:token"].tolist()
    assert history_of(recommender, "u7") == everything  # also what it was validated and tested on
    assert main(["recommend", "--checkpoint=saved/run", "--users=u7", "--topk=40", "--output=known.csv"]) == 0
    known = pd.read_csv("known.csv")
    assert set(known["item"]) == {f"i{number}" for number in range(40)} - set(everything)
    assert known["movie_title"].tolist() == [f"Film {item[1:]}" for item in known["item"]]
    assert main(["export", "--checkpoint=saved/run", "--output=model"]) == 0
    assert "users: 60" in (tmp_path / "model" / "README.md").read_text()
    assert main(["recommend", "--model=model", "--users=u7", "--topk=40", "--output=exported.csv"]) == 0
    assert (tmp_path / "exported.csv").read_bytes() == (tmp_path / "known.csv").read_bytes()
    assert pd.read_parquet("model/items.parquet")["year"].iloc[0] in range(1990, 2030)
    capfd.readouterr()
    assert main(["export", "--checkpoint=saved/run", "--output=model"]) == 2
    assert "exists already" in capfd.readouterr().err
