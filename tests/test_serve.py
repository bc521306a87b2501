"""The service: its routes and limits, the queue, the process of the command line, and the page in a real browser."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from recommending import N_ITEMS, history_of, make_recommender
from schemathesis.specs.openapi.checks import positive_data_acceptance

from recbole_cfgdiff.commands.cli import main
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.recommender.recommender import Asked
from recbole_cfgdiff.runs.pool import search_path
from recbole_cfgdiff.serving import app
from recbole_cfgdiff.serving.app import make_app
from recbole_cfgdiff.serving.batching import Batcher, QueueFull
from recbole_cfgdiff.serving.limits import Limits
from recbole_cfgdiff.serving.metrics import Metrics
from recbole_cfgdiff.serving.scoring import Job, check_ids

CHROMIUM = shutil.which("chromium")
CASES = int(os.environ.get("SERVICE_CASES", "80"))  # requests that are made up
JSON = {"content-type": "application/json"}
WITHOUT_RECBOLE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "recbole":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture
def client():
    with TestClient(make_app(make_recommender())) as client:
        yield client


def small(**limits):
    return TestClient(make_app(make_recommender(), Limits(**limits)))


ASKED = [
    {"users": ["u1", "u3"]},
    {"users": ["u1"], "topk": 3, "guidance_scale": 2.5},
    {"histories": [["i1", "i2"], []], "include_seen": True},
    {"histories": [["i4"]], "exclude": ["i5", "i6"], "candidates": ["i5", "i7", "i8"]},
    {"users": ["u2"], "diversify": 0.3, "topk": 4},
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_answer_is_the_recommenders(asked, client):
    answer = client.post("/recommend", json=asked)
    assert answer.status_code == 200, answer.text
    table = make_recommender().recommend(**asked)
    expected = [
        group[["item", "title", "rank", "score"]].to_dict("records") for _, group in table.groupby("user", sort=False)
    ]
    got = answer.json()["recommendations"]
    for people, others in zip(got, expected, strict=True):
        assert [{**line, "score": pytest.approx(line["score"], abs=1e-6)} for line in people] == others


def test_ids_of_numbers_are_taken_by_their_text(client):
    refused = client.post("/recommend", json={"histories": [[5]]})
    assert refused.status_code == 422 and "'5'" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"users": ["u99"]}, "1 of 1 users are unknown to the model: 'u99'"),
        ({"histories": [["i1", "x"]]}, "1 of 2 items are unknown to the model: 'x'"),
        ({"users": ["u1"], "exclude": ["x"]}, "unknown to the model: 'x'"),
        ({"users": ["u1"], "candidates": ["x"]}, "unknown to the model: 'x'"),
        ({}, "give either users or histories"),
        ({"users": ["u1"], "histories": [[]]}, "give either users or histories"),
        ({"users": "u1"}, "users"),
        ({"users": [True]}, "users.0"),
        ({"users": ["u1"], "topk": 0}, "topk"),
        ({"users": ["u1"], "topk": "3"}, "topk"),
        ({"users": ["u1"], "include_seen": 1}, "include_seen"),
        ({"users": ["u1"], "diversify": 2}, "diversify"),
        ({"users": ["u1"], "guidance_scale": 1e300}, "guidance_scale"),
        ({"users": ["u1"], "checkpoint": "/etc/passwd"}, "checkpoint: Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_refused_with_the_reason(body, told, client):
    refused = client.post("/recommend", json=body)
    assert refused.status_code == 422 and told in refused.json()["detail"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"users": ["u1"], "guidance_scale": NaN}',
        b'{"users": ["\\ud800"]}',
        b'{"users": ["u1"], "\\ud800": 1}',
        b'{"users": ["u1"], "topk": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda content: str(content[:40]),
)
def test_what_is_no_request_is_refused(content, client):
    refused = client.post("/recommend", content=content, headers=JSON)
    assert refused.status_code in (400, 422) and refused.json()["detail"]


def test_a_model_without_guidance_or_histories_says_so():
    plain = make_recommender("DiffRec")
    with TestClient(make_app(type(plain)(plain.source, plain.items, None, 1.0, plain.about))) as client:
        assert client.get("/model").json()["is_guided"] is False
        refused = client.post("/recommend", json={"histories": [["i1"]], "guidance_scale": 2})
        assert refused.status_code == 422 and "do not depend on it" in refused.json()["detail"]
        refused = client.post("/recommend", json={"users": ["u1"]})
        assert refused.status_code == 422 and "without its users' histories" in refused.json()["detail"]
        assert client.post("/recommend", json={"histories": [["i1"]]}).status_code == 200


def test_scores_that_are_no_numbers_are_told():
    recommender = make_recommender()
    recommender.source.scorer.denoiser.output_layer.bias.data.fill_(float("inf"))
    with TestClient(make_app(recommender)) as client:
        refused = client.post("/recommend", json={"histories": [["i1"]]})
        assert refused.status_code == 422 and "beyond the numbers of 32 bits" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("limits", "body", "told"),
    [
        (
            {"people": 1},
            {"users": ["u1", "u2"]},
            "users or histories: expected at most 1, got 2 (the service's --max-people)",
        ),
        ({"history": 2}, {"histories": [["i1", "i2", "i3"]]}, "items of a history: expected at most 2, got 3"),
        ({"topk": 5}, {"users": ["u1"], "topk": 6}, "topk: expected at most 5, got 6"),
        ({"diversify": 5}, {"users": ["u1", "u2"], "topk": 3, "diversify": 0.5}, "people times topk"),
    ],
    ids=str,
)
def test_more_than_a_limit_is_refused(limits, body, told):
    with small(**limits) as client:
        refused = client.post("/recommend", json=body)
        assert refused.status_code == 422 and told in refused.json()["detail"]


def test_too_large_a_body_is_refused_also_in_chunks_before_it_is_read_whole():
    read = 0

    def chunks():
        nonlocal read
        for _ in range(100):
            read += 1
            yield b" " * 100

    with small(body=1000) as client:
        for content in (b" " * 1001, chunks()):
            refused = client.post("/recommend", content=content, headers=JSON)
            assert refused.status_code == 413 and "at most 1,000 bytes" in refused.json()["detail"]
        assert client.post("/recommend", json={"users": ["u1"]}).status_code == 200


class Slow:
    """Has the scoring of a recommender wait."""

    def __init__(self, recommender):
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        of_histories = recommender.source.of_histories

        def wait(*arguments):
            self.has_begun.set()
            assert self.may_go_on.wait(60)
            return of_histories(*arguments)

        recommender.source.of_histories = wait


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def metric(client, name, **labels):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"recbole_cfgdiff_{name}" and labels.items() <= sample.labels.items()
    )


def test_a_full_queue_refuses_and_what_waited_is_scored_at_once():
    recommender = make_recommender()
    slow = Slow(recommender)
    expected = make_recommender()
    histories = [["i1"], ["i2"], ["i3"]]
    with TestClient(make_app(recommender, Limits(queue=2))) as client, ThreadPoolExecutor(3) as threads:

        def ask(history):
            return client.post("/recommend", json={"histories": [history], "topk": 5})

        first = threads.submit(ask, histories[0])
        assert slow.has_begun.wait(60)
        others = [threads.submit(ask, history) for history in histories[1:]]
        wait_until(lambda: metric(client, "queue_length") == 2)
        refused = ask(["i4"])
        slow.may_go_on.set()
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert "2 requests wait already" in refused.json()["detail"]
        for history, future in zip(histories, [first, *others]):
            (ranking,) = future.result().json()["recommendations"]
            assert [line["item"] for line in ranking] == expected.recommend(histories=[history], topk=5)[
                "item"
            ].tolist()
        assert metric(client, "batch_people_sum") == 3 and metric(client, "batch_people_count") == 2
        assert metric(client, "requests_total", path="/recommend", status="200") == 3
        assert metric(client, "requests_total", path="/recommend", status="429") == 1
        assert metric(client, "queue_length") == 0


def test_requests_whose_unknown_ids_are_looked_up_count_for_the_queue(monkeypatch):
    has_begun, may_go_on = threading.Event(), threading.Event()

    def wait(recommender, job):
        has_begun.set()
        assert may_go_on.wait(60)
        check_ids(recommender, job)

    monkeypatch.setattr(app, "check_ids", wait)
    with small(queue=1) as client, ThreadPoolExecutor(3) as threads:

        def ask():
            return client.post("/recommend", json={"users": ["nobody"]}).status_code

        first = threads.submit(ask)
        assert has_begun.wait(60)
        others = [threads.submit(ask) for _ in range(2)]
        refused = next(as_completed(others, timeout=60))
        may_go_on.set()
        assert refused.result() == 429
        assert [each.result() for each in (first, *others) if each is not refused] == [422, 422]


def test_paths_that_are_not_the_services_are_counted_as_one(client):
    assert client.get("/nothing/1").status_code == client.get("/nothing/2").status_code == 404
    assert metric(client, "requests_total", path="other", status="404") == 2
    assert metric(client, "request_seconds_count", path="other") == 2


def batched(jobs, score, most_people=64, most_waiting=64):
    """The outcomes of jobs that all wait before any is scored, and the batches."""
    batches = []

    def noted(batch):
        batches.append([job.people for job in batch])
        return score(batch)

    async def run():
        batcher = Batcher(noted, most_waiting, most_people, Metrics())
        asking = [asyncio.create_task(batcher.rankings(job)) for job in jobs]
        await asyncio.sleep(0)
        running = asyncio.create_task(batcher.run())
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        running.cancel()
        return outcomes

    return asyncio.run(run()), batches


def echo(batch):
    return [list(job.people) for job in batch]


def job(*people, are_known=True, **asked):
    return Job(people, are_known, Asked(**asked))


def test_what_asks_for_the_same_is_scored_at_once_in_turn():
    jobs = [job("a"), job("b", topk=3), job("c"), job("d", are_known=False), job("e", topk=3)]
    outcomes, batches = batched(jobs, echo)
    assert batches == [[("a",), ("c",)], [("b",), ("e",)], [("d",)]]
    assert outcomes == [["a"], ["b"], ["c"], ["d"], ["e"]]


def test_a_batch_has_at_most_so_many_people_and_diverse_lists_are_alone():
    jobs = [job("a", "b"), job("c", "d"), job("e"), job("f", "g", "h", "i")]
    assert batched(jobs, echo, most_people=3)[1] == [[("a", "b"), ("e",)], [("c", "d")], [("f", "g", "h", "i")]]
    assert batched([job("a", diversify=0.5), job("b", diversify=0.5)], echo)[1] == [[("a",)], [("b",)]]


def test_an_error_is_theirs_whose_batch_it_is():
    def fail(batch):
        if batch[0].asked.topk == 3:
            raise ConfigError("no")
        return echo(batch)

    outcomes, _ = batched([job("a"), job("b", topk=3), job("c", topk=3), job("d")], fail)
    assert outcomes[0] == ["a"] and outcomes[3] == ["d"]
    assert isinstance(outcomes[1], ConfigError) and isinstance(outcomes[2], ConfigError)


def test_one_more_than_may_wait_is_refused():
    outcomes, _ = batched([job("a"), job("b"), job("c")], echo, most_waiting=2)
    assert outcomes[:2] == [["a"], ["b"]] and isinstance(outcomes[2], QueueFull)


def test_titles_are_found_by_a_part_in_any_case(client):
    found = client.get("/items", params={"q": "fILM 1", "limit": 3}).json()
    assert found == [{"item": f"i{number}", "title": f"Film {number}"} for number in (1, 10, 11)]
    assert client.get("/items", params={"q": "[.*"}).json() == []
    assert client.get("/items", params={"q": "i7"}).json() == [{"item": "i7", "title": "Film 7"}]
    assert len(client.get("/items").json()) == 10
    for wrong in ({"limit": 0}, {"limit": 1000}, {"q": "x" * 201}):
        assert client.get("/items", params=wrong).status_code == 422


def test_a_token_is_needed_for_all_that_tells_of_the_model():
    with TestClient(make_app(make_recommender(), token="secret")) as client:
        assert client.get("/health").json() == {"status": "ok"} and client.get("/").status_code == 200
        for path in ("/model", "/items", "/metrics", "/openapi.json", "/recommend", "/nothing"):
            for wrong in ({}, *({"authorization": each} for each in ("Bearer secre", "Bearer secret2", "secret", "ü"))):
                refused = client.get(path, headers={key: value.encode() for key, value in wrong.items()})
                assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        right = {"authorization": "Bearer secret"}
        assert client.post("/recommend", json={"users": ["u1"]}, headers=right).status_code == 200
        assert "HTTPBearer" in client.get("/openapi.json", headers=right).text


def test_a_name_of_somebody_elses_that_leads_here_is_refused():
    with TestClient(make_app(make_recommender(), hosts=("localhost", "[::1]"))) as client:
        for host in ("localhost", "LOCALHOST:8000", "[::1]", "[::1]:8000"):
            assert client.get("/health", headers={"host": host}).status_code == 200
        for host in ("elsewhere.example:8000", "localhost.elsewhere.example", ""):
            refused = client.get("/health", headers={"host": host})
            assert refused.status_code == 421 and "expected [::1] or localhost" in refused.json()["detail"]


def test_no_page_is_loaded_from_elsewhere(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert not re.search(
        r"""(src|href)=["'](?!data:)|@import|url\(|innerHTML|insertAdjacent|document\.write""", page.text
    )
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert client.get("/openapi.json").json()["info"]["title"] == "recbole-cfgdiff"
    assert client.get("/health").headers["x-content-type-options"] == "nosniff"


# The process of the command line.


class Service:
    """``serve`` as a process, on a port that is free."""

    def __init__(self, folder, *arguments, **environment):
        command = [sys.executable, "-m", "recbole_cfgdiff", "serve", f"--model={folder}", "--port=0", *arguments]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": search_path(), "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        found = re.match(r"http://localhost:(\d+)/ serves ", line)
        assert found, line + self.process.stderr.read()
        self.port = int(found[1])
        self.url = f"http://localhost:{self.port}"

    def end(self, number=signal.SIGTERM):
        """Exit status, output and errors after a signal."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        try:
            out, err = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("model") / "films"
    make_recommender().save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def service(folder):
    service = Service(folder)
    yield service
    assert service.end()[0] == 0


def test_sigterm_lets_the_request_under_way_finish_without_recbole(folder, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_RECBOLE)
    (tmp_path / "token").write_text("secret\n")
    path = os.pathsep.join((str(tmp_path), search_path()))
    service = Service(folder, f"--token-file={tmp_path / 'token'}", PYTHONPATH=path)
    assert httpx.get(f"{service.url}/model").status_code == 401
    body = json.dumps({"histories": [["i1", "i2"]]}).encode()
    head = f"POST /recommend HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n"
    with socket.create_connection(("localhost", service.port), timeout=60) as connection:
        connection.sendall(f"{head}authorization: Bearer secret\r\ncontent-type: application/json\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # it is under way
        connection.sendall(body[:5])
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(service.port))
        connection.sendall(body[5:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200") and b'"recommendations":[[{"item":' in answer
    status, out, err = service.wait()
    assert (status, err) == (0, "") and out == "ended; every request under way was answered\n"


def accepts(port):
    try:
        socket.create_connection(("localhost", port), timeout=60).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "model: none given"),
        (["--model=nothing", "--port=0"], "nothing"),
        (["--model=m", "--max-topk=0"], "--max-topk: expected at least 1, got 0"),
        (["--model=m", "--port=70000"], "port: expected a number from 0 to 65535"),
        (["--model=m", "--host=256.0.0.1"], "choose others by --host and --port"),
        (["--model=m", "--token="], "--token: expected a token of printable ASCII characters"),
        (["--model=m", "--token=a", "--token-file=t"], "token: expected one, got it by --token and by --token-file"),
        (["--model=m", "--token-file=none"], "none: No such file"),
        (["--model=m", "--token-file=long"], "--token-file: expected at most 4,096 bytes"),
        (["--model=m", "--workers=2"], "unknown argument --workers=2"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(arguments, told, tmp_path, capfd):
    (tmp_path / "t").write_text("secret")
    (tmp_path / "long").write_text("a" * 5000)
    assert main(["serve", *arguments]) == 2
    _, err = capfd.readouterr()
    assert told in err and len(err.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line(capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--model=m", f"--port={taken.getsockname()[1]}"]) == 2
    assert "choose others by --host and --port" in capfd.readouterr().err


# Requests that are made up from openapi.json.

schemathesis.openapi.format("user-id", st.sampled_from(["u1", "u2", "u12"]))
schemathesis.openapi.format("item-id", st.sampled_from([f"i{number}" for number in range(1, N_ITEMS + 1)]))


def with_known_items(value):
    """Of numbers, whose text is no item's id, those of some item; JSON's 1.0 is such a number, too."""
    if isinstance(value, list):
        return [with_known_items(each) for each in value]
    return value if isinstance(value, str) or value is None else f"i{int(value) % N_ITEMS + 1}"


def answerable(case):
    """Of a request of the right form, one that has an answer: known ids, for either users or histories."""
    if case.path == "/recommend":
        body = {"histories": [], **case.body, "topk": int(min(case.body.get("topk", 10), 10))}
        for name in {"histories", "exclude", "candidates"} & set(body):
            body[name] = with_known_items(body[name])
        if body.get("users") is not None:
            body = {**body, "users": [each for each in body["users"] if isinstance(each, str)], "histories": None}
        elif body["histories"] is None:
            body["histories"] = []
        case.body = body
    return case


def test_made_up_requests_are_answered_as_openapi_json_says(service):
    """Neither a 5xx nor a hang; ``SERVICE_CASES=1000 python -m pytest tests/test_serve.py -k made_up`` makes more."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    right, wrong = (schema.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode)
    answers = Counter()

    @settings(max_examples=CASES)
    @given(right.map(answerable).map(lambda case: (case, True)) | wrong.map(lambda case: (case, False)))
    def check(made_up):
        case, has_answer = made_up
        response = case.call(timeout=10)
        answers[case.path, response.status_code] += 1
        case.validate_response(response, excluded_checks=[positive_data_acceptance])  # an unknown id has the right form
        assert response.status_code == 200 or not has_answer, response.text

    check()
    assert answers.total() >= CASES and {("/recommend", 200), ("/recommend", 422), ("/items", 200)} <= set(answers)


# The page.


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_titles_are_chosen_and_the_slider_changes_the_list(width, scheme, service, browser):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith((service.url, "data:")) or complaints.append(request.url))
    page.goto(service.url)
    page.wait_for_selector("#list li")
    items = "[...document.querySelectorAll('#list li')].map(row => row.dataset.item)"
    title = page.get_by_role("combobox", name="What somebody likes")
    for typed, keys, number in (
        ("film 2", ["Enter"], 2),
        ("film 1", ["ArrowDown", "ArrowDown", "ArrowUp", "Enter"], 10),
    ):
        before = page.evaluate(items)
        title.fill(typed)
        page.wait_for_selector("#found li")
        for key in keys:
            title.press(key)
        page.get_by_role("button", name=f"Remove Film {number}", exact=True).wait_for()
        wait_until(lambda before=before: page.evaluate(items) != before)
    slider = page.get_by_role("slider", name="Guidance scale")
    assert set(page.locator("#list .change").all_inner_texts()) == {"=\nsame rank as at scale 1"}
    before = page.evaluate(items)
    slider.focus()
    for _ in range(30):
        slider.press("ArrowRight")
    page.locator("#status", has_text="at scale 4.0.").wait_for()
    assert page.evaluate(items) != before
    expected = make_recommender().recommend(histories=[["i2", "i10"]], topk=20, guidance_scale=4.0)
    assert page.evaluate(items) == expected["item"].tolist()
    place = before.index(moved := next(item for item in page.evaluate(items) if item in before)) + 1
    rank = page.evaluate(items).index(moved) + 1
    told = page.locator(f'#list li[data-item="{moved}"] .change').inner_text()
    assert told.startswith({0: "=", 1: f"▲ {place - rank}", -1: f"▼ {rank - place}"}[(place > rank) - (place < rank)])
    title.focus()
    title.press("Backspace")
    page.get_by_role("button", name="Remove Film 10", exact=True).wait_for(state="detached")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    context.close()


HOSTILE = "<img src=x onerror=\"document.title='bad'\"><b>&amp;"


def test_titles_are_text_and_a_token_is_asked_for(browser, tmp_path):
    recommender = make_recommender()
    recommender.items.table["title"] = [f"{HOSTILE} {place}" for place in range(N_ITEMS)]
    recommender.save_pretrained(tmp_path / "hostile")
    service = Service(tmp_path / "hostile", RECBOLE_CFGDIFF_TOKEN="secret")
    page = browser.new_page()
    page.goto(service.url)
    page.get_by_label("Token").fill("secret")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector("#list li")
    assert not page.get_by_label("Token").is_visible()
    page.get_by_role("combobox").fill("onerror")
    page.wait_for_selector("#found li")
    page.get_by_role("combobox").press("Enter")
    page.wait_for_selector(".chip")
    for place in ("#list .title", ".chip span"):
        assert page.locator(place).first.inner_text().startswith(HOSTILE)
    assert page.title() == "Recommendations" and page.locator("img, b").count() == 0
    page.close()
    assert service.end(signal.SIGINT) == (0, "ended; every request under way was answered\n", "")


def test_a_known_users_list_has_nothing_of_theirs(client):
    (ranking,) = client.post("/recommend", json={"users": ["u3"], "topk": N_ITEMS}).json()["recommendations"]
    assert not {line["item"] for line in ranking} & set(history_of(make_recommender(), "u3"))
