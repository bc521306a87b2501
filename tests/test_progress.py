"""How far an experiment is, and what time is left, by a clock of our own."""

import pytest

from recbole_cfgdiff.runs.progress import Epochs, Progress, duration


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines():
    return []


def test_time_left_is_that_of_ended_runs_of_the_same_kind(clock, lines):
    progress = Progress(["fast", "slow"] * 3, 2, lines.append, clock)
    for name, kind in (("1", "fast"), ("2", "slow")):
        progress.start(name, kind)
    clock.now = 10
    assert progress.end("1") == 10
    progress.took("fast", 10)
    clock.now = 100
    assert progress.end("2") == 100
    progress.took("slow", 100)
    assert progress.left() == "about 1 min 50 s left"
    progress.start("3", "slow")
    clock.now = 140
    # 60 s of the one that goes on, 2 x 10 s and 100 s of the others, two at a time.
    assert progress.left() == "about 1 min 30 s left"


def test_of_a_kind_without_a_run_it_is_said_that_it_is_not_timed(clock, lines):
    progress = Progress(["Pop on d", *["SASRec on d"] * 4, "A on d", "B on d", "C on d"], 1, lines.append, clock)
    progress.start("Pop", "Pop on d")
    clock.now = 3
    progress.end("Pop")
    progress.took("Pop on d", 3)
    assert progress.left() == "7 runs of SASRec on d, A on d, B on d and 1 more not timed yet"
    progress.start("SASRec, seed 1", "SASRec on d")
    clock.now = 103
    progress.update("SASRec, seed 1", Epochs(done=2, most=10, seconds=80))
    # 8 epochs of 40 s of this run and 3 x 10 of the others.
    assert progress.left() == "at most about 25 min 20 s left, and 3 runs of A on d, B on d, C on d not timed yet"


def test_a_run_that_takes_longer_than_the_others_of_its_kind_is_judged_by_its_epochs(clock, lines):
    progress = Progress(["A"], 1, lines.append, clock)
    progress.took("A", 100)
    progress.start("1", "A")
    progress.update("1", Epochs(10, 20, 80))
    clock.now = 90
    assert progress.left() == "about 10 s left"
    clock.now = 200
    progress.update("1", Epochs(12, 20, 192))
    assert progress.left() == "at most about 2 min 8 s left"


def test_lines_come_once_a_minute_and_only_if_something_has_changed(clock, lines):
    progress = Progress(["A"], 1, lines.append, clock)
    progress.start("A, seed 1", "A")
    clock.now = 30
    progress.line()
    assert lines == []
    clock.now = 70
    progress.update("A, seed 1", Epochs(3, 9, 60))
    progress.line()
    assert lines == ["A, seed 1: epoch 3 of at most 9, 1 min 10 s so far; at most about 2 min 0 s left"]
    clock.now = 500
    progress.line()
    progress.update("A, seed 1", Epochs(4, 9, 500))
    progress.line()
    clock.now = 520
    progress.update("A, seed 1", Epochs(5, 9, 520))
    progress.line()
    assert len(lines) == 2
    clock.now = 600
    progress.line()
    assert len(lines) == 3 and "\r" not in "".join(lines)


def test_a_run_far_slower_than_the_others_is_told(clock, lines):
    progress = Progress(["fast", "slow"], 1, lines.append, clock)
    progress.start("1", "fast")
    clock.now = 13
    progress.end("1")
    progress.took("fast", 13)
    progress.start("2", "slow")
    clock.now = 77
    progress.line()
    assert "far slower" not in "".join(lines)
    clock.now = 140
    progress.line()
    assert lines[-1] == (
        "2: no epoch validated yet, 2 min 7 s so far, far slower than the others, which took at most 13 s; 1 run of "
        "slow not timed yet"
    )


def test_durations():
    assert [duration(seconds) for seconds in (5, 65, 3700)] == ["5 s", "1 min 5 s", "1 h 1 min"]
