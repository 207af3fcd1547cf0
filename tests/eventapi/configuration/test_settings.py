"""Settings: sources, accepted values and error messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.configuration.load import UNSET_IF_EMPTY, LoadedSettings, load
from eventapi.configuration.setting import PREFIX
from eventapi.configuration.settings import Settings, setting_descriptions
from events.database.urls import mask_url
from events.errors import ConfigurationError

NOWHERE = Path("/nonexistent/.env")
ACCEPT_ANY_TEXT = {"MAIL_FROM", "SECRET_KEY"}
"""Settings that a text which looks like a URL may be the value of."""


def load_settings(**settings: str) -> LoadedSettings:
    """Load an environment with only these settings, and no file."""
    return load({PREFIX + name: text for name, text in settings.items()}, NOWHERE)


def test_an_empty_environment_gives_the_defaults() -> None:
    found = load({}, NOWHERE)
    assert found.settings == Settings()
    assert set(found.origins.values()) == {"default"}
    assert found.settings.log_path == Path("data/events.jsonl")


def test_files_of_a_database_depend_on_its_address_but_not_on_its_password() -> None:
    def place(log: str) -> Path:
        return load_settings(LOG=log).settings.log_path

    known = place("postgresql://ann:one@db.example/log")
    assert known.parent == Path("data")
    assert place("postgresql://ann:another%40@db.example/log?sslmode=require") == known
    assert place("postgresql://ann:one@db.example/other") != known
    assert place("postgresql://ann:one@other.example/log") != known


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("DATA", "/srv/data", "/srv/data"),
        ("LOG", "elsewhere.jsonl", "elsewhere.jsonl"),
        ("SECRET_KEY", "12345", "12345"),
        ("ACCESS_TOKEN_MINUTES", "5", 5),
        (
            "CORS_ORIGINS",
            "https://a.example, https://b.example,",
            ("https://a.example", "https://b.example"),
        ),
        ("TRUSTED_PROXIES", "", ()),
        ("RATE_LIMIT", "off", "off"),
        ("RATE_LIMIT", "OFF", "off"),
        ("RATE_LIMIT", "60/Minute", "60/minute"),
        ("RATE_LIMIT_LOGIN", "5/second", "5/second"),
        ("CORS_ORIGINS", "*", ("*",)),
        ("CORS_ORIGINS", "http://localhost:3000/", ("http://localhost:3000/",)),
        ("LOG_LEVEL", "debug", "debug"),
        ("LOG_LEVEL", "WARNING", "warning"),
        ("LOG_FORMAT", "JSON", "json"),
        ("METRICS", "off", "off"),
        ("SNAPSHOT_EVERY", "0", 0),
        ("USER_QUOTA_BYTES", "0", 0),
        ("USER_QUOTA_BYTES", "1000000000", 1_000_000_000),
        ("USER_QUOTA_ITEMS", "10000", 10_000),
        ("V1_DEPRECATION", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("V1_SUNSET", "2027-07-01", "2027-07-01"),
        ("V1_LINK", "https://api.example/changes", "https://api.example/changes"),
        ("V1_LINK", "/docs", "/docs"),
        ("HOST", "::", "::"),
        ("PORT", "0", 0),
        ("PORT", "65535", 65_535),
        ("WORKERS", "16", 16),
        ("PUBLIC_URL", "https://api.example", "https://api.example"),
        ("PUBLIC_URL", "https://api.example/", "https://api.example"),
        ("PUBLIC_URL", "https://api.example:65535/", "https://api.example:65535"),
        ("PUBLIC_URL", "https://api.example:1", "https://api.example:1"),
        ("PUBLIC_URL", "http://[::1]:8080/a/b-c/", "http://[::1]:8080/a/b-c"),
        ("CORS_CREDENTIALS", "ON", "on"),
        ("LOG", "mysql://u:p%40@db:3306/log?ssl=true", "mysql://u:p%40@db:3306/log?ssl=true"),
        ("LOG", "postgres:///log?sslmode=verify-full", "postgres:///log?sslmode=verify-full"),
        ("SENTRY_DSN", "https://key@sentry.example/a/1", "https://key@sentry.example/a/1"),
        ("REDIS_URL", "redis://:p%40ss@[::1]:6379/0", "redis://:p%40ss@[::1]:6379/0"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("REDIS_URL", "redis://cache:6379/0/", "redis://cache:6379/0/"),
    ],
)
def test_a_good_value_is_accepted(name: str, text: str, value: object) -> None:
    found = load_settings(**{name: text})
    assert getattr(found.settings, name.lower()) == value
    assert found.origins[name] == "environment"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ACCESS_TOKEN_MINUTES", "0"),
        ("ACCESS_TOKEN_MINUTES", "-5"),
        ("ACCESS_TOKEN_MINUTES", "soon"),
        ("ACCESS_TOKEN_MINUTES", "9" * 20),
        ("REFRESH_TOKEN_DAYS", "1000000000"),
        ("DATA", ""),
        ("LOG", ""),
        ("CORS_ORIGINS", "app.example"),
        ("CORS_ORIGINS", "https://good.example,https://app.example/page"),
        ("CORS_ORIGINS", "https://*.app.example"),
        ("REFRESH_TOKEN_DAYS", "1.5"),
        ("MAX_BODY_BYTES", ""),
        ("RATE_LIMIT", "many"),
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy.example"),
        ("RATE_LIMIT", "0/minute"),
        ("RATE_LIMIT_LOGIN", "5/fortnight"),
        ("LOG_LEVEL", "verbose"),
        ("SEGMENT_BYTES", "1"),
        ("LOG_FORMAT", "xml"),
        ("METRICS", "true"),
        ("SNAPSHOT_EVERY", "-1"),
        ("USER_QUOTA_BYTES", "-1"),
        ("USER_QUOTA_BYTES", "1GB"),
        ("USER_QUOTA_ITEMS", "off"),
        ("V1_DEPRECATION", "soon"),
        ("V1_DEPRECATION", ""),
        ("V1_DEPRECATION", "2027-01-01T00:00:00"),
        ("V1_SUNSET", "2027-02-30"),
        ("V1_SUNSET", "Thu, 01 Jul 2027 10:30:00 GMT"),
        ("HOST", ""),
        ("PORT", ""),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "8000/tcp"),
        ("WORKERS", "0"),
        ("WORKERS", "auto"),
        ("PUBLIC_URL", ""),
        ("PUBLIC_URL", "api.example"),
        ("PUBLIC_URL", "ftp://api.example"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://api.example?x=1"),
        ("PUBLIC_URL", "https://api.example/a?x=1"),
        ("PUBLIC_URL", "https://api.example/#a"),
        ("PUBLIC_URL", "https://ann:pw@api.example"),
        ("PUBLIC_URL", "https://api.example//evil.example"),
        ("PUBLIC_URL", "https://api.example/a b"),
        ("PUBLIC_URL", "https://api.example:99999"),
        ("PUBLIC_URL", "https://api.example:65536/a"),
        ("PUBLIC_URL", "https://api.example:0"),
        ("CORS_ORIGINS", "https://api.example:65536"),
        ("SENTRY_DSN", "https://key@sentry.example:70000/1"),
        ("CORS_CREDENTIALS", "true"),
        ("PORT", "1e3"),
        ("PORT", "8000.0"),
        ("LOG", "pg://db/log"),
        ("LOG", "file:///srv/events.jsonl"),
        ("LOG", "postgresql://db"),
        ("LOG", "postgresql://db:port/log"),
        ("LOG", "postgresql://db:65536/log"),
        ("LOG", "postgresql://u:p@ss@db/log"),
        ("LOG", "postgresql://u:pa/ss@x@db/log"),
        ("LOG", "postgresql://db/log?sslmode=on"),
        ("LOG", "postgresql://db/log?sslmode=require&sslmode=allow"),
        ("LOG", "postgresql://db/log?connect_timeout=1"),
        ("LOG", "mysql://db/log?ssl=1"),
        ("SENTRY_DSN", "sentry.example"),
        ("SENTRY_DSN", "https://sentry.example/1"),
        ("SENTRY_DSN", "https://key@sentry.example:port/1"),
        ("REDIS_URL", "cache:6379"),
        ("REDIS_URL", "http://cache:6379"),
        ("REDIS_URL", "redis://cache:port"),
        ("REDIS_URL", "redis://cache:0"),
        ("REDIS_URL", "redis://cache:65536"),
        ("REDIS_URL", "redis://[::1"),
        ("REDIS_URL", "redis://cache/name"),
        ("REDIS_URL", "redis://cache/1/2"),
        ("REDIS_URL", "redis://:password@:6379/0"),
        ("REDIS_URL", "unix://run/redis.sock"),
        ("REDIS_URL", "redis://my cache:6379"),
        ("REDIS_URL", "unix://"),
        ("REDIS_URL", "redis://:pass/word@cache:6379/0"),
        ("REDIS_URL", "redis://:12/word@cache:6379/0"),
        ("V1_LINK", "docs"),
        ("V1_LINK", "https://api.example/a>; rel=next"),
    ],
)
def test_a_bad_value_is_reported_with_its_origin(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(**{name: text})
    assert str(refused.value).startswith(f"EVENTAPI_{name} (from environment): ")


@pytest.mark.parametrize("name", sorted(UNSET_IF_EMPTY))
def test_an_empty_value_of_an_optional_setting_overrides_the_file_with_none(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / ".env").write_text(f"EVENTAPI_{name}={setting_descriptions()[name].example}\n")
    loaded = load({f"EVENTAPI_{name}": ""}, tmp_path / ".env")
    assert getattr(loaded.settings, name.lower()) is None
    assert loaded.origins[name] == "environment"


@pytest.mark.parametrize(
    "name", ["DATA", "LOG", "MAIL_URL", "MAIL_TEMPLATES", "PUBLIC_URL", "SSL_CERTFILE", "WITNESSES"]
)
def test_an_empty_value_does_not_choose_another_place(name: str) -> None:
    with pytest.raises(ConfigurationError):
        load_settings(**{name: ""})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("RATE_LIMIT", "many", "must be N/second, N/minute, N/hour or N/day, where N is a number"),
        ("RATE_LIMIT_LOGIN", "5/fortnight", "N/minute"),
        ("CORS_ORIGINS", "app.example", "https://app.example:8443"),
        ("V1_LINK", "docs", "the URL of a page"),
        ("METRICS", "true", "must be on or off, not 'true'"),
        ("CORS_CREDENTIALS", "yes", "must be on or off, not 'yes'"),
        ("LOG_LEVEL", "verbose", "debug, info, warning, error or critical, not 'verbose'"),
        ("SEGMENT_BYTES", "9", "must be 0, or 1,048,576 bytes or more, not '9'"),
        ("LOG_FORMAT", "text", "must be console or json, not 'text'"),
        ("PORT", "70000", "must be a whole number, 0 to 65,535, not '70000'"),
        ("WORKERS", "0", "must be a whole number of processes, 1 to 512, not '0'"),
        ("ACCESS_TOKEN_MINUTES", "soon", "a whole number of minutes, 1 to 525,600, not 'soon'"),
        ("ACCESS_TOKEN_MINUTES", "5.5", "a whole number of minutes, 1 to 525,600"),
        ("REFRESH_TOKEN_DAYS", "0", "a whole number of days, 1 to 36,500"),
        ("MAX_BODY_BYTES", "64KiB", "a whole number of bytes, 1 or more"),
        ("USER_QUOTA_ITEMS", "-1", "a whole number of items, 0 or more"),
        ("DATA", "", "must be a path"),
        ("LOG", "", "must be a path, or an address postgresql://"),
        ("LOG", "pg://db/log", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE or mysql://"),
        ("PUBLIC_URL", "api.example", "must be an http:// or https:// address"),
        ("TRUSTED_PROXIES", "proxy.example", "must be IP addresses and networks"),
        ("V1_SUNSET", "soon", "must be a date, or an RFC 3339 time"),
        ("SENTRY_DSN", "x", "must be an address such as https://KEY@sentry.example/1"),
    ],
)
def test_an_error_message_lists_the_accepted_values(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(**{name: text})
    assert words in str(refused.value)


@given(
    st.sampled_from(sorted(setting_descriptions())),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
)
def test_no_error_message_mentions_types_or_patterns(name: str, text: str) -> None:
    try:
        load_settings(**{name: text})
    except ConfigurationError as error:
        stderr = str(error).replace(repr(text), "")
        assert not re.search(r"\$|\^|`|regex|enum|Expected|\b(int|str|float|Struct|None)\b", stderr)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ev:do-not'\"show@[me/db?do-not-show-me",
        "https://u:do-not-show,do-not-show,do-not-show@h:port/<",
    ],
)
@pytest.mark.parametrize("name", sorted({*setting_descriptions()} - ACCEPT_ANY_TEXT))
def test_a_long_value_is_not_repeated(name: str, text: str) -> None:
    """The value may be a secret in the wrong place."""
    with pytest.raises(ConfigurationError) as refused:
        load_settings(**{name: text})
    assert "show" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOGLEVEL", "LOG_LEVEL"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("metrics", "METRICS"),
        ("CORS_ORIGIN", "CORS_ORIGINS"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
        ("DATA_DIR", "DATA"),
        ("SECRET", "SECRET_KEY"),
        ("WORKER", "WORKERS"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"did you mean EVENTAPI_{meant}\?$"):
        load_settings(**{name: "x"})


def test_credentials_require_listed_origins() -> None:
    """Browsers refuse them for any origin."""
    with pytest.raises(ConfigurationError, match=r"^EVENTAPI_CORS_CREDENTIALS must be off while"):
        load_settings(CORS_ORIGINS="*", CORS_CREDENTIALS="on")
    load_settings(CORS_ORIGINS="https://app.example", CORS_CREDENTIALS="on")


def test_the_command_line_overrides_the_environment(tmp_path: Path) -> None:
    environ = {"EVENTAPI_PORT": "1", "EVENTAPI_HOST": "::"}
    found = load(environ, NOWHERE, {"EVENTAPI_PORT": "2"})
    assert (found.settings.port, found.origins["PORT"]) == (2, "--port")
    assert (found.settings.host, found.origins["HOST"]) == ("::", "environment")
    with pytest.raises(ConfigurationError, match=r"^--port: must be a whole number"):
        load(environ, NOWHERE, {"EVENTAPI_PORT": "x"})


def test_the_sunset_of_v1_cannot_precede_its_deprecation() -> None:
    with pytest.raises(ConfigurationError, match=r"^EVENTAPI_V1_SUNSET .* before .*DEPRECATION$"):
        load_settings(V1_DEPRECATION="2027-01-01T02:00:00+02:00", V1_SUNSET="2026-12-31T23:59:59Z")
    load_settings(V1_DEPRECATION="2027-01-01T02:00:00+02:00", V1_SUNSET="2027-01-01")


def test_the_server_log_cannot_be_the_event_log(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for file in (tmp_path / "events.jsonl", tmp_path / "link" / "events.jsonl"):
        with pytest.raises(ConfigurationError, match=r"EVENTAPI_LOG_FILE.* log of events"):
            load_settings(DATA=str(tmp_path), LOG_FILE=str(file))
        with pytest.raises(ConfigurationError, match=r"EVENTAPI_LOG_FILE.* log of events"):
            load_settings(LOG=str(tmp_path / "events.jsonl"), LOG_FILE=str(file))
    load_settings(DATA=str(tmp_path), LOG_FILE=str(tmp_path / "server.log"))


@pytest.mark.parametrize("name", ["NONSENSE", "data", "DATA_", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"^EVENTAPI_{name} .* is no setting of eventapi: "
    ):
        load_settings(**{name: "x"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "tcp://10.0.0.1:8000"),
        ("PORT", "udp://[fd00::1]:53"),
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "8000"),
        ("SERVICE_PORT_HTTP", "8000"),
        ("PORT_8000_TCP", "tcp://10.0.0.1:8000"),
        ("PORT_8000_TCP_PROTO", "tcp"),
        ("PORT_8000_TCP_PORT", "8000"),
        ("PORT_8000_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_a_variable_of_a_kubernetes_service_is_explained(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Kubernetes .*enableServiceLinks: false"):
        load_settings(**{name: text})


def test_variables_without_the_prefix_are_ignored() -> None:
    others = {"PATH": "/bin", "OTEL_SERVICE_NAME": "x", "eventapi_data": "y", "EVENTAPI": "z"}
    assert load(others, NOWHERE).settings == Settings()


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("EVENTAPI_DATA=from-file\nEVENTAPI_LOG_FORMAT=json\nOTHER=thing\n")
    found = load({"EVENTAPI_DATA": "from-environment"}, file)
    assert found.settings.data == "from-environment"
    assert found.settings.log_format == "json"
    assert found.origins["DATA"] == "environment"
    assert found.origins["LOG_FORMAT"] == str(file)


def test_a_bad_line_is_reported_with_the_name_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("EVENTAPI_NONSENSE=1\n")
    with pytest.raises(ConfigurationError) as refused:
        load({}, file)
    assert str(file) in str(refused.value)


def test_secrets_are_masked() -> None:
    shown = load_settings(
        SECRET_KEY="not to be seen",
        REDIS_URL="redis://:hunter2@cache:6379/0",
        LOG="postgresql://eventapi:hunter2@db/events",
        SENTRY_DSN="https://public@sentry.example/1",
    ).masked_rows()
    values = {name: value for name, value, _ in shown}
    assert values["EVENTAPI_SECRET_KEY"] == "********"
    assert values["EVENTAPI_REDIS_URL"] == "redis://:********@cache:6379/0"
    assert values["EVENTAPI_LOG"] == "postgresql://eventapi:********@db/events"
    assert "hunter2" not in str(shown)
    queried = "postgresql://db/events?user=a&password={}&sslmode=require"
    assert mask_url(queried.format("hunter2")) == queried.format("********")
    with pytest.raises(ConfigurationError) as refused:
        load_settings(LOG=queried.format("hunter2"))
    assert "hunter2" not in str(refused.value)


def test_every_setting_is_shown_once() -> None:
    names = [name for name, _, _ in load_settings().masked_rows()]
    assert names == [PREFIX + name for name in Settings.__struct_encode_fields__]
