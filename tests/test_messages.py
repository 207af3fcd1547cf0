"""Every message to an operator has a text, a severity and the next thing to type."""

from __future__ import annotations

import ast
import io
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import click
import pytest

from eventapi.cli import failures
from eventapi.cli.main import program
from events.errors import EventapiError, known_error
from events.messages import (
    accounts,
    archives,
    commands,
    error_classes,
    errors,
    mails,
    server_log,
)
from events.messages.message import Message
from tests.errors_page import PAGE, messages_of, render, tree_of

ROOT = Path(__file__).parent.parent
ROOMS = ("events", "projections", "eventapi")
CATALOGUE = {
    name: message
    for module in (error_classes, errors, accounts, archives, commands, server_log, mails)
    for name, message in messages_of(module).items()
}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

_COMMAND = re.compile(r"`(eventapi [^`]*)`")
_PART = re.compile(r"(docs/[a-z/-]+\.md), ([A-Z].*)")
_SEVERITY_WORDS = re.compile(
    r"[Ww]rites|[Nn]othing|written|wrote|\blost\b|only read|unchanged|signed|No key|continue|stopped there"
)
_LEVELS = {"warning", "error", "critical", "exception"}


@cache
def trees() -> Mapping[Path, ast.Module]:
    """The syntax trees of the product, which only the tests that need them parse."""
    return {path: ast.parse(path.read_text()) for path in SOURCES}


@cache
def filling() -> Collection[str]:
    """The functions that return an entry with its placeholders filled in."""
    return {
        node.name
        for found in trees().values()
        for node in ast.walk(found)
        if isinstance(node, ast.FunctionDef)
        and isinstance(node.returns, ast.Name)
        and node.returns.id == "Message"
    }


def test_every_error_class_has_a_message_of_its_own() -> None:
    kinds = list(tree_of(EventapiError))
    assert len(kinds) > 25
    assert [kind.__name__ for kind in kinds if "advice" not in vars(kind)] == []
    advice = [kind.advice for kind in kinds]
    assert [one.text for one in advice if advice.count(one) > 1] == []


def test_every_failure_of_a_command_has_a_message() -> None:
    kinds = [failures.Failure, failures.Misuse, failures.NegativeResult]
    assert [kind.__name__ for kind in kinds if "advice" not in vars(kind)] == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_message_has_all_three_parts(name: str) -> None:
    message = CATALOGUE[name]
    assert message.text
    assert _SEVERITY_WORDS.search(message.severity), message.severity
    assert message.severity.endswith((".", "}")), message.severity
    assert message.next
    assert not message.next.endswith("."), message.next
    assert message.next == message.next.lstrip()


def commands_in(text: str) -> Iterator[str]:
    """The commands in a text, with a word for each placeholder."""
    for found in _COMMAND.findall(text):
        yield re.sub(r"\{\w+[^}]*\}", "VALUE", found)


def is_given(values: Mapping[str, object], argument: click.Argument) -> bool:
    """Whether the command line has a value for an argument."""
    value = values.get(argument.name or "")
    return isinstance(value, str | tuple) and bool(value)


def check_command(text: str) -> None:
    """Raise `click.UsageError` if there is no such command, or it has no such options."""
    _, *words = shlex.split(text)
    context = click.Context(program, info_name="eventapi")
    command: click.Command = program
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        if found is None:
            raise click.UsageError(f"there is no command {text!r}")
        command = found
        context = click.Context(command, parent=context)
    values, left, _ = command.make_parser(context).parse_args(words)
    if left and not any(one.nargs == -1 for one in command.params):
        raise click.UsageError(f"too many words: {text}")
    missing = [
        one.name
        for one in command.params
        if isinstance(one, click.Argument) and one.required and not is_given(values, one)
    ]
    if missing:
        raise click.UsageError(f"{missing} is missing: {text}")


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_commands_that_a_message_names_exist(name: str) -> None:
    message = CATALOGUE[name]
    for command in commands_in(f"{message.text} {message.severity} {message.next}"):
        check_command(command)


@pytest.mark.parametrize(
    "text",
    [
        "eventapi log varify",
        "eventapi log verify --seal-it",
        "eventapi log copy",
        "eventapi users erase NAME OTHER",
        "eventapi log restore --vault",
    ],
)
def test_control_a_command_that_does_not_exist_is_found(text: str) -> None:
    with pytest.raises(click.UsageError):
        check_command(text)


def missing_headings(text: str) -> list[str]:
    """The parts of documents, as in ``docs/operating.md, Restore``, that do not exist."""
    return [
        f"{document}, {part}"
        for document, part in _PART.findall(text)
        if not any(part.startswith(heading) for heading in _headings(document))
    ]


@cache
def _headings(document: str) -> Collection[str]:
    return re.findall(r"^#+ (.+)$", (ROOT / document).read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_parts_of_documents_that_a_message_names_exist(name: str) -> None:
    message = CATALOGUE[name]
    assert not missing_headings(f"{message.text}\n{message.severity}\n{message.next}")


def test_control_a_part_of_a_document_that_does_not_exist_is_found() -> None:
    assert missing_headings("see docs/operating.md, Lost friends") == [
        "docs/operating.md, Lost friends"
    ]


def find_log_calls(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls that log a warning or an error."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            target = node.func.value
            is_logger = isinstance(target, ast.Name) and "log" in target.id.lower()
            if node.func.attr in _LEVELS and is_logger:
                yield node


def is_catalogued(argument: ast.expr) -> bool:
    """Whether the logged value is an entry, filled in or not, or an error's message."""
    if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Name):
        return argument.func.id in filling()
    if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Attribute):
        if argument.func.attr == "about":
            return True  # With the text of an error.
        return argument.func.attr == "fill" and is_catalogued(argument.func.value)
    if isinstance(argument, ast.Name):
        return argument.id in CATALOGUE
    return isinstance(argument, ast.Attribute) and argument.attr == "message"


def test_every_warning_and_error_that_is_logged_is_in_the_catalogue() -> None:
    calls = [(path, call) for path, found in trees().items() for call in find_log_calls(found)]
    assert len(calls) > 40
    assert [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path, call in calls
        if not is_catalogued(call.args[0])
    ] == []


def test_control_a_warning_without_an_entry_is_found() -> None:
    (call,) = find_log_calls(ast.parse('logger.warning("the disk is full: %s", error)'))
    assert not is_catalogued(call.args[0])


def test_every_entry_is_used() -> None:
    used = {
        node.id if isinstance(node, ast.Name) else node.attr
        for found in trees().values()
        for node in ast.walk(found)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert sorted(CATALOGUE.keys() - used) == []


def test_an_entry_with_placeholders_is_filled_in() -> None:
    """Such an entry is never logged or raised unchanged."""
    with_placeholders = {name for name, one in CATALOGUE.items() if "{" in f"{one.text}{one.next}"}
    raised = [
        (path, node.exc)
        for path, found in trees().items()
        for node in ast.walk(found)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    ]
    calls = [
        *raised,
        *((path, call) for path, found in trees().items() for call in find_log_calls(found)),
    ]
    assert [
        f"{path.relative_to(ROOT)}:{one.lineno}"
        for path, call in calls
        for one in call.args
        if isinstance(one, ast.Name) and one.id in with_placeholders
    ] == []


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(), "generate it: python -m tests.errors_page"


# Messages in errors, log lines and on the terminal


def test_an_error_with_only_a_text_has_the_advice_of_its_class() -> None:
    for kind in tree_of(EventapiError):
        if "__init__" not in vars(kind) and kind.__init__ is EventapiError.__init__:
            message = kind("this is wrong").message
            assert message == kind.advice.about("this is wrong")


def test_an_error_with_a_message_keeps_it() -> None:
    message = Message("{what} is wrong", "Nothing was lost.", "type `eventapi config`")
    error = EventapiError(message.fill(what="the disk"))
    assert str(error) == "the disk is wrong"
    assert str(error.message) == (
        "the disk is wrong. Nothing was lost. Next: type `eventapi config`"
    )
    assert known_error(ExceptionGroup("", [error])) is error


def test_a_message_on_a_terminal_has_a_line_for_each_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failures.Failure(Message("this is wrong", "Nothing was lost.", "repeat it")).show()
    assert capsys.readouterr().err == (
        "eventapi: this is wrong\nNothing was lost.\nNext: repeat it\n"
    )


def find_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that is not a group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from find_commands(command, (*path, name))
        else:
            yield (*path, name)


ARGUMENTS: dict[tuple[str, ...], list[str]] = {
    ("data", "export"): ["--resource", "items"],
    ("data", "import"): ["{tmp}/db.json", "--resource", "items", "--owner", "anna"],
    ("log", "evidence"): ["--user", "anna", "{tmp}/evidence.zip"],
    ("log", "prove"): ["1"],
    ("log", "copy"): ["{tmp}/copy"],
    ("log", "archive"): ["{tmp}/archive"],
    ("log", "restore"): ["--new-key"],
    ("log", "import"): ["{tmp}/db.json"],
    ("resources", "show"): ["invoice"],
    ("users", "export"): ["anna"],
    ("users", "create"): ["anna", "anna@example.org", "--password-stdin"],
    ("users", "grant"): ["anna", "auditor"],
    ("users", "revoke"): ["anna", "auditor"],
    ("users", "disable"): ["anna"],
    ("users", "enable"): ["anna"],
    ("users", "erase"): ["anna", "--yes"],
    ("users", "reset-password"): ["anna"],
    ("users", "set-email"): ["anna", "anna@example.org"],
    ("users", "remove-totp"): ["anna"],
    ("webhooks", "add"): ["https://example.org/"],
    ("webhooks", "remove"): ["1"],
    ("webhooks", "replay"): ["1", "--after", "0"],
    ("webhooks", "rotate-secret"): ["1"],
    ("webhooks", "test"): ["1"],
}


@pytest.mark.parametrize("words", [*find_commands(program)], ids=" ".join)
def test_every_command_reports_a_failure_with_all_three_parts(
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a file as data directory, when a command runs, then it reports that."""
    (tmp_path / "data").write_text("no directory")
    (tmp_path / "db.json").write_text('{"users": {}, "items": {}}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENTAPI_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"correct horse battery")))
    if words == ("config",):
        monkeypatch.setenv("EVENTAPI_NONSENSE", "1")
    arguments = [one.format(tmp=tmp_path) for one in ARGUMENTS.get(words, [])]
    with pytest.raises(SystemExit) as end:
        program.main([*words, *arguments], prog_name="eventapi")
    output = capsys.readouterr().err
    assert end.value.code in {2, 3}, output
    # A misuse is one line.
    assert output.count("\n") == (1 if end.value.code == 2 else 3), output
    assert output.startswith("eventapi: "), output
    severity, following, _ = output.partition("Next: ")
    assert _SEVERITY_WORDS.search(severity), output
    assert following, output
