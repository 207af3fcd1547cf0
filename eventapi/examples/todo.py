"""To-do lists that several people share.

The owner of a list shares it with ``PUT /api/v2/todo_lists/1/shares/ben`` and ``{"can": "write"}``.
Serve it with ``eventapi serve --resources eventapi.examples.todo``.
"""

from typing import Annotated

from msgspec import Meta, Struct, structs

from eventapi.resources import Refused, Resource, action

Text = Annotated[str, Meta(min_length=1, max_length=200)]


class Task(Struct, frozen=True):
    """Something to do."""

    text: Text
    done: bool = False


class TodoList(Resource):
    """A list of tasks."""

    shareable = True

    title: Text
    tasks: Annotated[list[Task], Meta(max_length=100)] = []

    @action
    def add(self, *, text: Text) -> "TodoList":
        """Add a task at the end."""
        if len(self.tasks) >= 100:
            raise Refused("the list has 100 tasks; start another one")
        return structs.replace(self, tasks=[*self.tasks, Task(text)])

    @action
    def tick(self, *, index: Annotated[int, Meta(ge=0)]) -> "TodoList":
        """Mark a task as done; the first one has the index 0."""
        if index >= len(self.tasks):
            raise Refused(f"there is no task {index}")
        tasks = list(self.tasks)
        tasks[index] = structs.replace(tasks[index], done=True)
        return structs.replace(self, tasks=tasks)
