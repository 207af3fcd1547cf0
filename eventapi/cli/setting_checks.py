"""Check values of settings that only some commands use: `serve` and `config` do."""

from __future__ import annotations

from eventapi.cli.failures import Misuse
from eventapi.configuration.settings import Settings
from events.errors import ConfigurationError


def check_values(settings: Settings) -> None:
    """Raise `Misuse` for a key, a sender of mails or options of Redis that are bad."""
    if settings.ssl_keyfile is not None and settings.ssl_certfile is None:
        raise Misuse("EVENTAPI_SSL_KEYFILE or --ssl-keyfile needs EVENTAPI_SSL_CERTFILE")
    if settings.mail_from != Settings().mail_from:
        _check_sender(settings.mail_from)
    if settings.redis_url and "?" in settings.redis_url:
        _check_redis(settings.redis_url)
    if settings.secret_key is None:
        return
    # Slow to import, and the parent of several workers would keep it in memory.
    from eventapi.security.secret_key import parse_keys  # noqa: PLC0415

    try:
        parse_keys(settings.secret_key)
    except ConfigurationError as error:
        raise Misuse(f"EVENTAPI_{error}") from None


def _check_sender(sender: str) -> None:
    from eventapi.mail.compose import parse_sender  # noqa: PLC0415 - as above

    try:
        parse_sender(sender)
    except ValueError as error:
        raise Misuse(f"EVENTAPI_MAIL_FROM: {error}") from None


def _check_redis(url: str) -> None:
    from eventapi.ratelimit.storage import redis_storage  # noqa: PLC0415 - as above

    try:
        redis_storage(url)
    except ConfigurationError as error:
        raise Misuse(str(error)) from None


def check_resources(settings: Settings) -> None:
    """Raise `Misuse` for modules that cannot be imported, or that declare badly."""
    if not settings.resources:
        return
    from eventapi.bootstrap.storage import registry_of  # noqa: PLC0415 - as above

    try:
        registry_of(settings)
    except ConfigurationError as error:
        raise Misuse(f"EVENTAPI_RESOURCES: {error}") from None
