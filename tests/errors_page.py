"""Generate docs/errors.md from the catalogue: ``python -m tests.errors_page``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from eventapi.cli import failures
from events.errors import EventapiError
from events.messages import accounts, archives, commands, errors, mails, server_log
from events.messages.message import Message

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"

_HEAD = """\
# Errors and warnings

Every error and warning that an operator can see has three parts: what is wrong, how bad it is (do writes continue? was
anything lost?), and what to type next. A command prints that on stderr, a line for each:

    eventapi: there is no vault at data/vault.sqlite
    Nothing was changed. Personal values cannot be read without its keys; they are not lost as long as a
    copy of the vault exists.
    Next: put the vault back, or its copy: cp KEYS data/vault.sqlite

and exits with 1 (the result is negative) or 3 (could not run). A misuse, such as a wrong setting, is one line
and exits with 2. A server writes all three in one line to its log. `eventapi log verify --json` has them as `verdict`, `severity` and `next`.

This page is generated from `events/messages/`, from which the program prints. Words in capitals are placeholders for values.
An HTTP client gets a problem document instead, whose `type` links to a page of its own.
"""

_PLACEHOLDER = re.compile(r"\{(\w+)[^}]*\}")


def tree_of(kind: type[EventapiError]) -> Iterator[type[EventapiError]]:
    """The class and its subclasses in the order of their definition, without those of tests."""
    yield kind
    for one in kind.__subclasses__():
        if one.__module__ == EventapiError.__module__:
            yield from tree_of(one)


def messages_of(module: ModuleType) -> dict[str, Message]:
    """The messages that a module of the catalogue defines, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Message) and not name.startswith("_") and _is_defined_in(module, name)
    }


def _is_defined_in(module: ModuleType, name: str) -> bool:
    return f"\n{name}: Final = Message(" in Path(str(module.__file__)).read_text()


def render() -> str:
    """The content of the page."""
    kinds = ((f"`{kind.__name__}`", kind.advice) for kind in tree_of(EventapiError))
    endings = [failures.Failure, failures.Misuse, failures.NegativeResult]
    return "\n".join(
        [
            _HEAD,
            "## Kinds of errors\n",
            "The defaults of the classes in `events/errors.py`; most errors have a text of their own.\n",
            _table(kinds),
            "## Errors of the log, the keys and the signature\n",
            _table(_named(errors)),
            "## Errors and findings of commands\n",
            _table(
                [
                    *((f"`{ending.__name__}`", ending.advice) for ending in endings),
                    *_named(commands, leave_out={ending.advice for ending in endings}),
                    *_named(accounts),
                ]
            ),
            "## Archives of the log\n",
            _table(_named(archives)),
            "## Warnings and errors in the server's log\n",
            _table([*_named(server_log), *_named(mails)]),
        ]
    )


def _named(module: ModuleType, leave_out: Iterable[Message] = ()) -> Iterator[tuple[str, Message]]:
    for name, message in messages_of(module).items():
        if message not in leave_out:
            yield f"`{name.lower().replace('_', '-')}`", message


def _table(rows: Iterable[tuple[str, Message]]) -> str:
    lines = ["| | what is wrong | how bad it is | next |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {_cell(one.text)} | {_cell(one.severity)} | {_cell(one.next)} |"
        for name, one in rows
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return _PLACEHOLDER.sub(lambda match: match[1].upper(), text).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render())
