"""The kinds of problems (RFC 9457): slug, status, title and meaning of each."""

from __future__ import annotations

import msgspec

from eventapi.values.validation import MAX_FAULTS


class ProblemType(msgspec.Struct, frozen=True):
    """A kind of problem: ``slug`` is the last part of its type URI.

    ``v1_status`` is the status in version 1 if it differs; ``oauth`` is the code of OAuth 2.0.
    """

    slug: str
    status: int
    title: str
    meaning: str
    v1_status: int | None = None
    oauth: str = "invalid_request"


PROBLEMS = {
    problem.slug: problem
    for problem in (
        ProblemType(
            "malformed-body",
            400,
            "Malformed request",
            "The body is not valid JSON or no valid form, or the request is not valid HTTP. "
            "Correct it before trying again.",
        ),
        ProblemType(
            "unauthenticated",
            401,
            "Not authenticated",
            "The access token is missing, expired, forged, or its session has ended. Log in again.",
            oauth="invalid_grant",
        ),
        ProblemType(
            "invalid-credentials",
            401,
            "Wrong username or password",
            "The username or the password is wrong. The server does not reveal which one.",
            oauth="invalid_grant",
        ),
        ProblemType(
            "second-factor-required",
            401,
            "Second factor required",
            "The password is right. Send `challenge` of this problem and a code to "
            "`/auth/login/second-factor`.",
            oauth="invalid_grant",
        ),
        ProblemType(
            "email-unverified",
            403,
            "Email address not verified",
            "This server requires a verified email address. Open the link in the mail, or request "
            "another mail with `/auth/email/verification`.",
            oauth="invalid_grant",
        ),
        ProblemType(
            "account-disabled",
            403,
            "Account disabled",
            "An operator has disabled this account.",
            oauth="invalid_grant",
        ),
        ProblemType("forbidden", 403, "Forbidden", "The caller is known and may not do this."),
        ProblemType(
            "not-found", 404, "Not found", "There is nothing here, or nothing that is the caller's."
        ),
        ProblemType(
            "method-not-allowed",
            405,
            "Method not allowed",
            "This path does not support the method; the Allow header lists the supported ones.",
        ),
        ProblemType(
            "username-taken",
            409,
            "Username taken",
            "Another account has this username, without regard to case.",
            v1_status=400,
        ),
        ProblemType(
            "email-taken",
            409,
            "Email address taken",
            "Another account has this email address, without regard to case.",
            v1_status=400,
        ),
        ProblemType(
            "request-timeout",
            408,
            "Request timeout",
            "The request did not arrive in time. Send it again, on another connection.",
            oauth="temporarily_unavailable",
        ),
        ProblemType(
            "request-in-progress",
            409,
            "Request in progress",
            "A request with the same Idempotency-Key is still running. Try again in a moment.",
        ),
        ProblemType(
            "quota-exceeded",
            409,
            "Quota exceeded",
            "The user has reached the limit on the number of items or on their bytes in the log. "
            "Deleting items allows new ones, but frees no bytes: ask the operator for more.",
        ),
        ProblemType(
            "action-refused",
            409,
            "Action refused",
            "The application's rules for this action refuse it, for the reason in `detail`.",
        ),
        ProblemType(
            "not-unique",
            409,
            "Not unique",
            "Another resource has a value that must be unique; `errors` lists the fields.",
        ),
        ProblemType(
            "precondition-failed",
            412,
            "Precondition failed",
            "The item's version is not one of If-Match, or is one of If-None-Match. "
            "Read the item again before you retry.",
        ),
        ProblemType(
            "body-too-large", 413, "Body too large", "The body is larger than this server accepts."
        ),
        ProblemType("uri-too-long", 414, "URI too long", "The path and query are too long."),
        ProblemType(
            "unsupported-media-type",
            415,
            "Unsupported media type",
            "The Content-Type is not a media type that this request accepts.",
        ),
        ProblemType(
            "validation-failed",
            422,
            "Validation failed",
            "The request is well-formed, but a value is invalid; `errors` lists the first "
            f"{MAX_FAULTS:,} faults, and says if there are more.",
        ),
        ProblemType(
            "idempotency-key-reused",
            422,
            "Idempotency key reused",
            "The Idempotency-Key was used before, for another request.",
        ),
        ProblemType(
            "rate-limited",
            429,
            "Too many requests",
            "The caller has exceeded a limit. Try again after the seconds in Retry-After.",
            oauth="temporarily_unavailable",
        ),
        ProblemType(
            "headers-too-large",
            431,
            "Headers too large",
            "The header fields are too many or too large.",
        ),
        ProblemType(
            "internal-error",
            500,
            "Internal error",
            "The server failed. Its log has the reason, under the request id.",
            oauth="server_error",
        ),
        ProblemType(
            "log-unavailable",
            503,
            "Log unavailable",
            "The event log cannot be reached, so nothing can be written. Try again later.",
            oauth="temporarily_unavailable",
        ),
        ProblemType(
            "projection-failed",
            503,
            "Projection failed",
            "This projection of the application has stopped, or is computed anew after a change. "
            "Everything else is served.",
            oauth="temporarily_unavailable",
        ),
        ProblemType(
            "overloaded",
            503,
            "Overloaded",
            "Too many requests are waiting. Try again after the seconds in Retry-After.",
            oauth="temporarily_unavailable",
        ),
        ProblemType(
            "storage-full",
            507,
            "Storage full",
            "There is no room for another event, so nothing was written. Reads continue.",
            oauth="temporarily_unavailable",
        ),
    )
}
