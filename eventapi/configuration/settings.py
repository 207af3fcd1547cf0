"""The settings: their types, defaults and meanings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from eventapi.configuration.server_settings import ServerSettings
from eventapi.configuration.setting import Setting, describe, describe_fields
from eventapi.configuration.types import (
    MAIL_RULE,
    ORIGINS_RULE,
    PROXIES_RULE,
    RATE_RULE,
    TIME_RULE,
    Count,
    Days,
    Dsn,
    Link,
    Minutes,
    Origin,
    Positive,
    PublicUrl,
    Rate,
    Sender,
    Switch,
    Text,
    credentials_fault,
    dates_fault,
    mail_fault,
    origins_fault,
    path_fault,
    proxies_fault,
    redis_fault,
    time_fault,
)
from eventapi.values.addresses import opened_host


class Settings(ServerSettings, frozen=True, rename=str.upper, forbid_unknown_fields=True):
    """All settings; ``docs/settings.md`` is generated from these fields.

    Lists are separated by commas. Words such as those of ``log_level`` may have any case.
    ``public_url`` does not end with a slash.
    """

    access_token_minutes: Annotated[
        Minutes,
        describe("How long an access token is accepted.", unit="minutes", example="15"),
    ] = 30
    refresh_token_days: Annotated[
        Days,
        describe("How long a session lasts after its last refresh.", unit="days", example="14"),
    ] = 30
    session_days: Annotated[
        Days,
        describe(
            "How long a session lasts at most, in spite of refreshes.", unit="days", example="90"
        ),
    ] = 365
    require_verified_email: Annotated[
        Switch,
        describe("Whether only users with a verified email address can log in.", example="on"),
    ] = "off"
    public_url: Annotated[
        PublicUrl | None,
        describe(
            "Public URL of the server, used in links, also in those of mails. "
            "Set it if a proxy changes the host, or serves the API under a path.",
            values="an http:// or https:// address, with a path or without, and no query",
            default="derived from each request; in mails and links for operators http://HOST:PORT, "
            "with a certificate https://",
            example="https://api.example/events",
        ),
    ] = None
    mail_url: Annotated[
        Text | None,
        describe(
            "Where mail goes: to a mail server, by SMTP, or into a directory, as a file for each mail.",
            values=MAIL_RULE,
            check=mail_fault,
            default="the directory outbox in DATA",
            example="smtp://eventapi:PASSWORD@mail.example:587",
        ),
    ] = None
    mail_from: Annotated[
        Sender,
        describe(
            "Sender of the mails.",
            values="an address, or a name and an address in angle brackets",
            example="Example <no-reply@example.org>",
        ),
    ] = "eventapi@localhost"
    mail_templates: Annotated[
        Text | None,
        describe(
            "Directory with templates that replace those of the package, by their names.",
            values="a path",
            check=path_fault,
            default="none",
            example="/etc/eventapi/mail",
        ),
    ] = None
    webhook_private_addresses: Annotated[
        Switch,
        describe(
            "Whether webhooks are delivered to addresses that are not public, such as 127.0.0.1.",
            example="on",
        ),
    ] = "off"
    witnesses: Annotated[
        Text | None,
        describe(
            "Trust policy (C2SP tlog-policy) with the witnesses that cosign the checkpoints of the log.",
            values="the path of a file",
            check=path_fault,
            default="none",
            example="/etc/eventapi/witnesses.policy",
        ),
    ] = None
    cors_origins: Annotated[
        tuple[Origin, ...],
        describe(
            "Origins of web pages that may call this API from a browser (CORS).",
            values=ORIGINS_RULE,
            check=origins_fault,
            default="none",
            example="https://app.example,http://localhost:3000",
        ),
    ] = ()
    cors_credentials: Annotated[
        Switch,
        describe(
            "Whether those pages may send credentials such as cookies. "
            "Access tokens in a header do not need it.",
            example="on",
        ),
    ] = "off"
    trusted_proxies: Annotated[
        tuple[str, ...],
        describe(
            "Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted; `unix` means all "
            "clients of the Unix socket of `serve --uds`.",
            values=PROXIES_RULE,
            check=proxies_fault,
            default="none",
            example="127.0.0.1,10.0.0.0/8",
        ),
    ] = ()
    redis_url: Annotated[
        str | None,
        describe(
            "Redis or Valkey server that counts rate limits for all machines together.",
            values="an address redis://..., rediss://..., unix://..., valkey://... or valkeys://...",
            check=redis_fault,
            default="none; each machine counts separately",
            example="redis://:PASSWORD@cache.example:6379/0",
        ),
    ] = None
    rate_limit: Annotated[
        Rate,
        describe(
            "Limit of requests per caller: a user, or an IP address for requests without a token.",
            values=RATE_RULE,
            example="600/minute",
        ),
    ] = "6000/minute"
    rate_limit_login: Annotated[
        Rate,
        describe(
            "Limit of logins, registrations, refreshes, mailed links and keys per IP address. `off` "
            "also removes the limits of wrong passwords, of wrong codes of a second factor, which "
            "anyone with the password can then guess, and of mails.",
            values=RATE_RULE,
            example="10/minute",
        ),
    ] = "60/minute"
    max_body_bytes: Annotated[
        Positive,
        describe(
            "Largest request body; a larger one is refused with 413. The body of a batch may be 16 "
            "times as large.",
            unit="bytes",
            example="16384",
        ),
    ] = 65_536
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        describe(
            "Lowest level of the lines that the server logs. Above `info` there is no access log; "
            "`debug` adds the path of requests to unknown routes.",
            example="warning",
        ),
    ] = "info"
    log_format: Annotated[
        Literal["console", "json"],
        describe("Format of these lines: for people, or for programs.", example="json"),
    ] = "console"
    log_file: Annotated[
        str | None,
        describe(
            "File for these lines, in addition to stderr. It is not rotated; a program such as "
            "logrotate may rename it.",
            values="a path",
            check=path_fault,
            default="none; only stderr",
            example="/var/log/eventapi/server.log",
        ),
    ] = None
    sentry_dsn: Annotated[
        Dsn | None,
        describe(
            "Sentry project that unexpected errors are reported to. Requires the extra `sentry`.",
            values="an address such as https://KEY@sentry.example/1",
            default="none",
            example="https://KEY@sentry.example/1",
        ),
    ] = None
    metrics: Annotated[
        Switch, describe("Whether `GET /metrics` returns metrics for Prometheus.", example="off")
    ] = "on"
    console: Annotated[
        Switch, describe("Whether `/console` is served, and `/` redirects browsers.", example="off")
    ] = "on"
    snapshot_every: Annotated[
        Count,
        describe(
            "New events after which a snapshot is taken, for a faster start. 0 takes none.",
            unit="events",
            example="500000",
        ),
    ] = 100_000
    user_quota_bytes: Annotated[
        Count,
        describe(
            "Size of the log that the items of one user may use; then writes get 409. 0 is no limit.",
            unit="bytes",
            example="100000000",
        ),
    ] = 0
    user_quota_items: Annotated[
        Count,
        describe(
            "Maximum number of items of one user. 0 is no limit.", unit="items", example="10000"
        ),
    ] = 0
    v1_deprecation: Annotated[
        str | None,
        describe(
            "Date of the deprecation of version 1 of the API; its responses announce it.",
            values=TIME_RULE,
            check=time_fault,
            default="not deprecated",
            example="2027-01-01",
        ),
    ] = None
    v1_sunset: Annotated[
        str | None,
        describe(
            "Date on which version 1 will end; its responses announce it, and the server goes on.",
            values=TIME_RULE,
            check=time_fault,
            default="no end",
            example="2027-07-01T00:00:00Z",
        ),
    ] = None
    v1_link: Annotated[
        Link | None,
        describe(
            "Page about these two dates, for the `Link` header of the same responses.",
            values="the URL of a page, or its path on this server",
            default="none",
            example="https://api.example/changes",
        ),
    ] = None

    def __post_init__(self) -> None:
        for setting in setting_descriptions().values():
            value = getattr(self, setting.name.lower())
            if value is not None and (fault := setting.check(value)):
                raise ValueError(fault)
        if self.public_url:
            msgspec.structs.force_setattr(self, "public_url", self.public_url.rstrip("/"))
        if fault := dates_fault(self.v1_deprecation, self.v1_sunset):
            raise ValueError(fault)
        if self.log_file and Path(self.log_file).resolve() == self.log_path.resolve():
            raise ValueError("LOG_FILE must not be the log of events")
        if fault := credentials_fault(self.cors_origins, self.cors_credentials):
            raise ValueError(fault)

    @property
    def outbox_path(self) -> Path | None:
        """The directory that mail goes to; ``None`` if it goes to a mail server."""
        place = self.mail_url or self.data_path / "outbox"
        return None if "://" in str(place) else Path(place)

    @property
    def base_url(self) -> str:
        """The address that links in mails begin with; it never comes from a request."""
        scheme = "http" if self.ssl_certfile is None else "https"
        return self.public_url or f"{scheme}://{opened_host(self.host)}:{self.port}"


@cache
def setting_descriptions() -> Mapping[str, Setting]:
    """The description of every setting, by its name without the prefix."""
    return describe_fields(Settings)
