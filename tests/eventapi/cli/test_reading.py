"""Reading commands create and change nothing, and need no write permission."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import sqlalchemy

from eventapi.commands.users import RegisterUser
from eventapi.commands.webhooks import CreateWebhook
from eventapi.followers.file import FileFollowers
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.database.connection import Database
from events.database.tables import METADATA
from tests.eventapi.cli.running import as_nobody, clean_environment, invoke, running, written
from tests.eventapi.cli.trees import tree

COMMANDS = [
    ["config"],
    ["log", "show"],
    ["log", "show", "--open"],
    ["log", "tail"],
    ["log", "verify"],
    ["log", "verify", "--seals"],
    ["log", "diff"],
    ["log", "diff", "--from", "1", "--open", "--json"],
    ["log", "show", "--since", "1", "--order", "desc"],
    ["log", "export"],
    ["log", "export", "--format", "db-json"],
    ["state", "show"],
    ["state", "digest", "--at", "2"],
    ["resources", "list"],
    ["resources", "show", "item"],
    ["resources", "check"],
    ["users", "list"],
    ["users", "export", "ann"],
    ["webhooks", "list"],
    ["data", "export", "--resource", "items"],
    ["rebuild"],
]
OF_A_LOG = COMMANDS[1:]

ALL_OF_THEM = """
import json, sys
from click.testing import CliRunner
from eventapi.cli.main import program
data, commands = json.loads(sys.argv[1])
results = [CliRunner().invoke(program, [*command, "--data", data]) for command in commands]
print(json.dumps([[one.exit_code, one.stdout, one.stderr] for one in results]))
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory with a snapshot, which other users can reach."""
    with tempfile.TemporaryDirectory(prefix="eventapi-reading-") as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "data"
        written(
            folder,
            RegisterUser(profile("ann")),
            create_item(1, Content("an item")),
            CreateWebhook("operator/root", "https://example.org/"),
        )
        assert invoke(folder, "snapshot").exit_code == 0
        asyncio.run(FileFollowers(folder / "followers.sqlite").call(lambda db: db.commit()))
        yield folder


def answers(data: Path) -> Mapping[str, tuple[int, str]]:
    """The results of every reading command except `rebuild`, which prints times."""
    error = {}
    for command in COMMANDS[:-1]:
        result = invoke(data, *command)
        assert result.exit_code == 0, (command, result.stderr)
        error[" ".join(command)] = (result.exit_code, result.stdout)
    return error


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("form", ["of a server", "a bare copy"])
def test_reading_commands_create_and_change_nothing(
    data: Path, command: Sequence[str], form: str
) -> None:
    if form == "a bare copy":
        for name in ("events.jsonl.mark", "events.jsonl.lock"):
            (data / name).unlink()
        shutil.rmtree(data / "snapshots")
    before = tree(data.parent)
    result = invoke(data, *command)
    assert result.exit_code == 0, result.stderr
    assert tree(data.parent) == before


def test_a_copy_without_a_mark_reads_as_the_log(data: Path) -> None:
    with_mark = answers(data)
    (data / "events.jsonl.mark").unlink()
    assert answers(data) == with_mark


def test_an_empty_mark_hides_no_event(data: Path) -> None:
    """A start leaves such a mark if it is killed before it recovers a log without one.

    `log verify` is left out, because it reports lines after the mark.
    """
    whole = {name: end for name, end in answers(data).items() if "verify" not in name}
    mark = data / "events.jsonl.mark"
    page = bytearray(mark.read_bytes())
    page[:24] = bytes(24)
    page[64:] = bytes(len(page) - 64)
    mark.write_bytes(page)
    assert {name: end for name, end in answers(data).items() if name in whole} == whole


def test_a_torn_tail_of_a_copy_is_ignored_and_not_changed(data: Path) -> None:
    shown = invoke(data, "log", "export").stdout_bytes
    (data / "events.jsonl.mark").unlink()
    with (data / "events.jsonl").open("ab") as file:
        file.write(b'{"specversion":"1.0","id":"3",')
    before = tree(data)
    assert invoke(data, "log", "export").stdout_bytes == shown
    assert tree(data) == before


def _all(data: Path, *prefix: str, **options: object) -> list[list[object]]:
    """Run all commands in another process; return code, stdout and stderr of each."""
    command = [*prefix, sys.executable, "-c", ALL_OF_THEM, json.dumps([str(data), COMMANDS])]
    done = subprocess.run(
        command,
        env=clean_environment(PYTHONDONTWRITEBYTECODE="1"),
        cwd="/",
        capture_output=True,
        check=True,
        **options,  # type: ignore[call-overload]
    )
    found: list[list[object]] = json.loads(done.stdout)
    return found


@pytest.mark.root
def test_reading_commands_need_only_read_permission(data: Path) -> None:
    before = answers(data)  # Also imports all modules, which another user may not read.
    for path in (data, *data.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o444)
    unchanged = tree(data)

    def read() -> object:
        with pytest.raises(PermissionError):
            (data / "new").touch()
        return answers(data)

    assert as_nobody(read) == {name: list(end) for name, end in before.items()}
    assert tree(data) == unchanged


@pytest.mark.root
def test_reading_commands_work_on_a_read_only_mount(data: Path) -> None:
    mounted = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", mounted, str(data)]
    trial = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    if trial.returncode:
        pytest.skip("nothing can be mounted here")
    control = [*prefix, "touch", str(data / "new")]
    assert subprocess.run(control, capture_output=True, check=False).returncode != 0
    found = _all(data, *prefix)
    assert [end for end in found if end[0] != 0] == []


def test_follow_uses_a_mark_that_a_server_creates_later(data: Path) -> None:
    (data / "events.jsonl.mark").unlink()
    with running(data.parent, "log", "tail", "-n", "1", "--follow", "--data", "data") as tail:
        assert json.loads(tail.line())["id"] == "3"
        written(data, create_item(1, Content("later")))
        assert json.loads(tail.line())["id"] == "4"


# Over a database


def in_database(url: str, tmp_path: Path, *command: str) -> tuple[int, str, str]:
    result = invoke(tmp_path / "nowhere", *command, "--log", url, typed="correct horse")
    return result.exit_code, result.stdout, result.stderr


def tables(url: str) -> list[str]:
    async def work() -> list[str]:
        database = await Database.open(url, begin=False)
        try:
            async with database.reading.connect() as connection:
                return await connection.run_sync(
                    lambda sync: sqlalchemy.inspect(sync).get_table_names()
                )
        finally:
            await database.close()

    return asyncio.run(work())


def test_an_empty_database_stays_empty(url: str, tmp_path: Path) -> None:
    for command in (["log", "show"], ["log", "verify"], ["users", "list"], ["state", "show"]):
        code, _, error = in_database(url, tmp_path, *command)
        assert (code, error.startswith("eventapi: there is no log at ")) == (3, True), error
    (tmp_path / "nowhere").mkdir()
    code, _, error = in_database(url, tmp_path, "users", "disable", "ann")
    assert (code, error.startswith("eventapi: there is no log at ")) == (3, True), error
    assert tables(url) == []
    assert list((tmp_path / "nowhere").iterdir()) == []


def test_a_database_is_read_without_a_data_directory(data: Path, url: str, tmp_path: Path) -> None:
    assert invoke(data, "log", "copy", url).exit_code == 0
    for command in OF_A_LOG:
        code, out, error = in_database(url, tmp_path, *command)
        is_unproven = command[:2] == ["users", "export"]
        expected = invoke(data, *command).stderr if is_unproven else ""
        assert (code, error) == (0, expected), (command, error)
        if command[0] != "rebuild" and "verify" not in command:
            assert out == invoke(data, *command).stdout
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["users", "disable", "ann"],
        ["users", "create", "ben", "ben@example.org", "--password-stdin"],
        ["snapshot"],
    ],
    ids=" ".join,
)
def test_a_command_that_writes_to_a_database_needs_the_data_directory(
    data: Path, url: str, tmp_path: Path, command: Sequence[str]
) -> None:
    assert invoke(data, "log", "copy", url).exit_code == 0
    code, _, error = in_database(url, tmp_path, *command)
    assert code == 2
    assert "name the server's data directory: --data DIR or EVENTAPI_DATA" in error
    assert not (tmp_path / "nowhere").exists()
    assert invoke(tmp_path / "nowhere", "log", "copy", str(data), url).exit_code == 2


def test_no_log_is_created_in_a_database_that_lost_one(data: Path, url: str) -> None:
    """The mark on this machine shows that the log had events."""
    assert invoke(data, "log", "copy", url).exit_code == 0

    (mark,) = data.glob("database-*.mark")

    async def lose() -> None:
        database = await Database.open(url)
        async with database.writing.begin() as connection:
            for table in METADATA.tables:
                await connection.execute(sqlalchemy.text(f"DROP TABLE IF EXISTS {table}"))
        await database.close()

    asyncio.run(lose())
    before = tree(data)
    result = invoke(
        data,
        "users",
        "create",
        "ben",
        "b@example.org",
        "--password-stdin",
        "--log",
        url,
        typed="correct horse",
    )
    assert result.exit_code == 3, result.output
    assert "but there was one" in result.stderr
    assert f"{mark.name} (3 events were acknowledged)" in result.stderr
    assert tree(data) == before
    assert tables(url) == []
