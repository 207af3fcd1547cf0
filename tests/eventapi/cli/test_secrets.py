"""No password in a URL is printed, even if the URL is malformed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.eventapi.cli.running import invoke, message_in, run

# None of these characters occur in the rest of the URL or in a message about it.
PASSWORDS = st.text("QXZ@/:#?&%[]é", min_size=2, max_size=14).map(lambda text: f"QX{text}")
COMMANDS = (("config",), ("config", "--json"), ("log", "show"), ("users", "list"))

quick = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A bound port that does not listen; no other process can use it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def leaked_parts(password: str, output: str) -> list[str]:
    """The four-character substrings of a password that an output contains."""
    found = {password[at : at + 4] for at in range(len(password) - 3)}
    return [piece for piece in found if piece in output and piece != "://:"]


@quick
@given(PASSWORDS, st.sampled_from(["postgresql", "mysql"]))
@example("S3c@retPW", "postgresql")
@example("QXQX@QXQX/QXQX#QXQX", "mysql")
@example("QXZQ@QXZQ/XZQX@QXZZ", "postgresql")
def test_an_unusable_database_url_leaks_no_password(
    closed_port: int, tmp_path: Path, password: str, scheme: str
) -> None:
    place = f"127.0.0.1:{closed_port}"
    hosts = place if scheme == "mysql" else f"{place},{place}"
    url = f"{scheme}://ev:{password}@{hosts}/db"
    for command in COMMANDS:
        for result in (
            invoke(tmp_path, *command, "--log", url),
            invoke(tmp_path, *command, EVENTAPI_LOG=url),
        ):
            assert result.exit_code in {2, 0 if command[0] == "config" else 3}, result.output
            assert not leaked_parts(password, result.output)


@quick
@given(PASSWORDS, st.sampled_from(["verify", "restore"]))
@example("S3c@retPW", "verify")
def test_a_database_url_in_the_place_of_a_path_leaks_no_password(
    tmp_path: Path, password: str, command: str
) -> None:
    """These commands read files and buckets; a person may paste the URL of ``--log``."""
    result = invoke(tmp_path, "log", command, f"postgresql://ev:{password}@127.0.0.1/db")
    assert result.exit_code == 2, result.output
    assert not leaked_parts(password, result.output)


IN_PLACE_OF_A_PATH = (
    ("log", "copy", "TO", "--vault"),
    ("log", "restore", "--vault"),
    ("log", "restore", "--checkpoint"),
    ("log", "verify", "--checkpoint"),
    ("log", "verify", "--prefix-of"),
    ("log", "verify", "--witnesses"),
    ("log", "checkpoint", "--cosigned"),
    ("log", "export", "--output"),
    ("log", "evidence", "--user", "ann"),
    ("log", "import"),
    ("log", "archive"),
    ("data", "import", "--resource", "items", "--owner", "ann"),
    ("data", "export", "--resource", "items", "--output"),
    ("users", "export", "ann"),
    ("serve", "--uds"),
    ("serve", "--ssl-certfile"),
    ("serve", "--ssl-keyfile"),
    ("serve", "--host"),
    ("config", "--data"),
)
IN_PLACE_OF_ANOTHER_WORD = (
    (),
    ("config", "--resources"),
    ("log",),
    ("log", "tail"),
    ("log", "tail", "-n"),
    ("log", "show", "--since"),
    ("log", "show", "--order"),
    ("serve", "--port"),
    ("serve", "--workers"),
    ("state", "digest", "--at"),
)


@quick
@given(PASSWORDS, st.sampled_from((*IN_PLACE_OF_A_PATH, *IN_PLACE_OF_ANOTHER_WORD)))
@example("S3c@retPW", ("log", "copy", "TO", "--vault"))
@pytest.mark.parametrize("scheme", ["postgresql", "https"])
def test_an_address_in_the_place_of_another_argument_leaks_no_password(
    tmp_path: Path, scheme: str, password: str, command: tuple[str, ...]
) -> None:
    result = invoke(tmp_path, *command, f"{scheme}://ev:{password}@127.0.0.1/db")
    assert result.exit_code == 2, result.output
    assert not leaked_parts(password, result.output)


@pytest.mark.parametrize("command", IN_PLACE_OF_A_PATH, ids=" ".join)
def test_an_address_or_an_empty_text_in_the_place_of_a_path_is_misuse(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Nor is it created as a path. The same holds for a variable of a shell that is not set."""
    for place in ("https://ev:QXZQ@127.0.0.1/db", ""):
        result = invoke(tmp_path, *command, place)
        assert (result.exit_code, "QXZQ" in result.output) == (2, False), result.output
    assert not list(tmp_path.iterdir())


@quick
@given(
    PASSWORDS.filter(lambda text: "," not in text),
    st.sampled_from(
        ["DATA", "HOST", "LOG_FILE", "MAIL_TEMPLATES", "RESOURCES", "SSL_CERTFILE", "WITNESSES"]
    ),
)
@example("S3c@retPW", "RESOURCES")
def test_an_address_in_the_place_of_another_setting_leaks_no_password(
    tmp_path: Path, password: str, name: str
) -> None:
    settings = {f"EVENTAPI_{name}": f"postgresql://ev:{password}@127.0.0.1/db"}
    result = invoke(tmp_path, "config", **settings)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert not leaked_parts(password, result.output)


@quick
@given(PASSWORDS, st.sampled_from(["redis", "rediss", "valkey", "unix", "nonsense"]))
@example("QXQX/QXQX", "redis")
def test_a_redis_url_leaks_no_password(tmp_path: Path, password: str, scheme: str) -> None:
    result = invoke(tmp_path, "config", EVENTAPI_REDIS_URL=f"{scheme}://u:{password}@host:6379/0")
    assert result.exit_code in {0, 2}
    assert not leaked_parts(password, result.output)


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("code", "name", "url"),
    [
        (2, "REDIS_URL", "redis://:QXZQ@127.0.0.1:port/0"),
        (2, "REDIS_URL", "redis://:QX/ZQ@127.0.0.1:6379/0"),
        (2, "REDIS_URL", "redis://127.0.0.1:99999/0"),
        (2, "REDIS_URL", "redis://:QXZQ@127.0.0.1:1/0?nonsense=QXZQ"),
        (2, "REDIS_URL", "redis://:QXZQ@127.0.0.1:1/0?db=QXZQ"),
        (2, "REDIS_URL", "redis://:QXZQ@127.0.0.1:1/0?protocol=9"),
        (2, "LOG", "postgresql://ev:QX@ZQ@127.0.0.1:1/db"),
        (2, "LOG", "postgresql://ev:QXZQ@127.0.0.1:1,/db"),
        (2, "LOG", "postgresql://ev:QXZQ@127.0.0.1:1,127.0.0.1:2/db?target_session_attrs=any"),
        (2, "LOG", "postgresql://ev:QX/ZQ@XZ/QX@127.0.0.1:1/db"),
        (2, "SENTRY_DSN", "https://QXZQ:XZQX@127.0.0.1:port/x"),
    ],
)
def test_a_failed_start_prints_one_message_without_the_password(
    tmp_path: Path, workers: str, code: int, name: str, url: str
) -> None:
    settings = {f"EVENTAPI_{name}": url, "EVENTAPI_LOG_LEVEL": "error"}
    ended = run(tmp_path, "serve", "--port", "0", "--workers", workers, **settings)
    assert ended.code == code
    assert message_in(ended.err).startswith(f"EVENTAPI_{name}")
    assert not any(part in ended.err for part in ("QX", "ZQ", "XZ"))
