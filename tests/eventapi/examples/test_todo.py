"""The to-do list: its actions, and sharing it."""

from __future__ import annotations

import pytest

from eventapi.examples.todo import Task, TodoList
from eventapi.resources import Refused
from eventapi.testing import act, acted, created, given, registered, shared
from eventapi.testing.plugin import StartServer
from events.errors import Forbidden, NotFound

ANN, BEN = registered(1, "ann"), registered(2, "ben")
TODOS = created(TodoList(title="Garden", tasks=[Task("Water the plants")]), 1, owner=1)
TICKED = acted(TodoList, 1, "tick", {"index": 0}, tasks=[Task("Water the plants", done=True)])
TICK = act(TodoList, 1, "tick", caller=2, index=0)


def test_a_task_is_added_at_the_end() -> None:
    tasks = [Task("Water the plants"), Task("Mow the lawn")]
    given(ANN, TODOS).when(act(TodoList, 1, "add", caller=1, text="Mow the lawn")).then(
        acted(TodoList, 1, "add", {"text": "Mow the lawn"}, tasks=tasks)
    )


def test_a_missing_task_cannot_be_ticked() -> None:
    given(ANN, TODOS).when(act(TodoList, 1, "tick", caller=1, index=1)).refused(Refused)


def test_only_a_user_with_a_share_to_write_can_tick() -> None:
    given(ANN, BEN, TODOS).when(TICK).refused(NotFound)
    given(ANN, BEN, TODOS, shared(TodoList, 1, user=2, can="read")).when(TICK).refused(Forbidden)
    given(ANN, BEN, TODOS, shared(TodoList, 1, user=2, can="write")).when(TICK).then(TICKED)


@pytest.mark.long
def test_a_real_server_serves_shared_lists(eventapi_server: StartServer) -> None:
    server = eventapi_server("eventapi.examples.todo")
    ann, ben = server.user("ann"), server.user("ben")
    assert ann.post("todo_lists", json={"title": "Garden"}).status_code == 201
    assert ben.get("todo_lists/1").status_code == 404

    share = ann.put("todo_lists/1/shares/ben", json={"can": "write"})
    assert share.is_success
    added = ben.post("todo_lists/1/add", json={"text": "Water the plants"})
    assert added.json()["tasks"] == [{"text": "Water the plants", "done": False}]
    assert ann.get("todo_lists/1").json()["tasks"] == added.json()["tasks"]

    assert ann.delete("todo_lists/1/shares/ben").is_success
    assert ben.get("todo_lists/1").status_code == 404
