"""The logs of one Pod share a bounded room, and are held in steps that grow."""

from __future__ import annotations

from app.core.evidence import NOT_KEPT, Log
from app.watcher.rounds import Round, not_kept


def log(container: str, size: int, *, run: int = 0) -> Log:
    return Log(container=container, run=run, text="x" * size, whole_run=True)


def test_what_has_no_room_is_cut_from_the_front_and_then_not_kept() -> None:
    todo = Round(logs=(log("held", 40),), limit=100)
    for each in (log("a", 50), Log(container="b", text="old\nnew 6789\n"), log("c", 1), Log(container="d", note="why")):
        todo.add(each)

    a, b, c, d = todo.take()
    assert a == log("a", 50)
    assert (b.text, b.cut) == ("new 6789\n", True)
    assert (c.text, c.cut) == ("x", False)
    assert d.note == "why"
    assert todo.room("e", 0) == 0


def test_a_log_that_finds_no_room_leaves_a_note_and_is_not_wanted_again() -> None:
    todo = Round(logs=(log("held", 100),), limit=100)
    todo.add(log("a", 5))

    assert todo.take() == (not_kept("a", 0),)
    assert (not_kept("a", 0).note, not_kept("a", 0).whole_run) == (NOT_KEPT, True)


def test_a_log_that_is_read_again_takes_its_own_place() -> None:
    todo = Round(logs=(log("held", 60), log("other", 40)), limit=100)

    assert todo.room("held", 0) == 60
    todo.add(log("held", 50))
    assert todo.room("other", 0) == 40


def test_steps_grow() -> None:
    todo, steps = Round(), []
    for number in range(100):
        todo.add(log(f"c{number}", 1))
        if todo.is_step:
            steps.append(len(todo.take()))

    assert steps == [1, 2, 4, 8, 16, 32]
    assert len(todo.take()) == 37
    assert todo.take() == ()
