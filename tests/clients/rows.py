"""The rows of docs/migrating.md, and the differences that each of them explains."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.clients.observing import ABSENT, Difference

Change = Callable[[Any, Any], bool]
"""Whether a row explains a change from an old value to a new one."""


@dataclass(frozen=True)
class Row:
    """A row by its anchor, with regular expressions for places and names of cases."""

    anchor: str
    places: str
    cases: str = ".*"
    change: Change = lambda _, __: True

    def explains(self, found: Difference) -> bool:
        """Whether the row allows a difference."""
        return (
            re.fullmatch(self.places, found.place) is not None
            and re.fullmatch(self.cases, found.case) is not None
            and self.change(found.old, found.new)
        )


def _added(old: Any, _: Any) -> bool:
    return bool(old == ABSENT)


def _missing(_: Any, new: Any) -> bool:
    return bool(new == ABSENT)


_ERROR_MEMBERS = "type|title|status|request_id|errors|error|error_description"
_HEADERS = (
    "cache-control|content-security-policy|cross-origin-resource-policy|event-position|etag|referrer-policy|"
    "ratelimit|ratelimit-policy|x-content-type-options|x-frame-options|x-request-id"
)
_FRAMES = "content-length|transfer-encoding"
_PREFLIGHT = "access-control-(allow-headers|allow-methods|expose-headers|max-age)|vary"
_NO_PREFLIGHT = "(?!preflight|as installed).*"
_STRICT = "NaN.*|a (title|name) twice.*|a lone surrogate|a deep .*|a member that is not known twice"
_QUERY = "a query|a query that is not known|skip and limit|a cache buster|a limit that is no number"
_MORE = "health|auth/sessions|items/3/history"

ROWS: Final = (
    # Every answer
    Row("headers", f"header ({_HEADERS})", change=_added),
    Row("pieces", f"header ({_FRAMES})", "list many"),
    Row("cors-headers", "header (access-control-expose-headers|vary)", _NO_PREFLIGHT, _added),
    Row(
        "cors-headers",
        "header access-control-allow-credentials",
        ".* by a page elsewhere",
        _missing,
    ),
    # Accounts
    Row("names", "status 200 -> 400", "register a name that is taken in another case"),
    Row("names", "status 401 -> 200", "log in with the name in another case"),
    Row("hyphen", "status 200 -> 422", "register with a name that begins with -"),
    Row("addresses", "status 200 -> 400", "register an address that is taken"),
    Row("address-syntax", "status 200 -> 422", "register with an undeliverable address"),
    Row("address-syntax", "body.email", "register with an address with capitals in the domain"),
    Row("passwords", "status 200 -> 422", "register with a very long password"),
    Row("passwords", "status 200 -> 401", "log in with a password without its end"),
    Row("token-members", r"body\.(expires_in|refresh_token)", "log in .*", _added),
    Row("token-claims", r"body\.access_token\.claims", "log in .*"),
    Row("old-tokens", "status 200 -> 401", ".* with a token of the replaced service"),
    Row("disabled", "status 200 -> 403", "log in as a disabled user"),
    Row("disabled", "status 400 -> 401", ".* of a disabled user"),
    Row("bearer", r"body\.detail", ".* with the scheme alone"),
    Row("challenge", "header www-authenticate", change=lambda old, new: "invalid_token" in new),
    Row(
        "long-logins",
        "status 401 -> 422",
        "log in with a (name that is not allowed|very long password)",
    ),
    Row("token-first", "status 422 -> 401", ".* with a bad token and malformed JSON"),
    # Bodies
    Row(
        "malformed", "status 422 -> 400", ".* with (malformed JSON|a comma too many|an empty body)"
    ),
    Row("malformed", "status 422 -> 400", ".* without a body"),
    Row("strict-json", "status .* -> 400", f".* (with ({_STRICT})|in UTF-16)"),
    Row("strict-json", r"body\.detail", ".* with bytes that are not UTF-8"),
    Row("byte-order-mark", "status 200 -> 400", ".* with a byte order mark"),
    Row("twice", "status 200 -> 422", "log in with a name twice in a form"),
    Row(
        "media-types",
        "status (200|400|422) -> 415",
        ".* (declared as .*|with a form|JSON declared as text|compressed)",
    ),
    Row("size", "status 200 -> 413|header connection", "create with a large body"),
    Row(
        "texts",
        "status 200 -> 422",
        ".* with (a|an) (newline|tab|NUL|control character|direction override) in .*",
    ),
    Row(
        "visible", "status 200 -> 422", ".* with (an invisible (full name|title)|a title of blanks)"
    ),
    # Errors
    Row("error-members", rf"body\.({_ERROR_MEMBERS})", change=_added),
    Row("faults", r"body\.detail\[\]\.msg"),
    Row("faults", r"body\.detail\[\]\.type", change=lambda old, _: "pattern_mismatch" in old),
    Row("faults", r"body\.detail\[\]\.ctx", change=_missing),
    Row("secrets", r"body\.detail\[\]\.input.*"),
    Row("ids", "status (200|422) -> 404", ".* an id .*"),
    # Addresses
    Row("query", "status 200 -> 422", f".* with ({_QUERY})"),
    Row("query", "body|header link", "list with a limit"),
    Row("allow", "header allow"),
    Row("more-methods", "status 405 -> (20.|400|415)", "(HEAD|OPTIONS|PATCH|DELETE) .*"),
    Row("more-paths", "status 404 -> [23]0.", f"GET /({_MORE})?|log out"),
    Row("request-headers", "status 200 -> (304|412|422)", ".* with a (condition|bad key|position)"),
    Row(
        "lengths",
        "status .* -> 4(14|31)|header connection",
        "read (a long path|with a long header)",
    ),
    Row(
        "unknown-paths",
        r"body\.detail|header content-type",
        "GET /(nothing/?|Items)?|POST /nothing",
    ),
    Row("unknown-paths", r"body\.detail|header content-type", "GET //items"),
    Row("no-content", "header content-type", "delete .*", _missing),
    Row("pages", "status 200 -> 404", "GET /(redoc|docs/oauth2-redirect)"),
    Row(
        "openapi",
        r"body\..*|header (content-(encoding|length|type)|vary)",
        "GET /openapi.json",
    ),
    Row("framing", "body|header content-type", "BREW .*"),
    # Pages of other origins
    Row("cors-preflight", f"header ({_PREFLIGHT}|content-type|content-length)", "preflight .*"),
    Row("cors-preflight", "status (200|400) -> 204", "preflight .*"),
    Row("cors-setting", "header (access-control-.*|vary)", "as installed: .*"),
    Row("cors-setting", "status 200 -> .*", "as installed: preflight .*"),
    Row(
        "rates",
        "status 401 -> 429|status 422 -> 429|header retry-after",
        "as installed: (log in|guess) .*",
    ),
)
