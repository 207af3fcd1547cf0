"""The default message of each class in `events.errors`.

An error raised with a text of its own replaces ``text`` and keeps severity and advice.
"""

from __future__ import annotations

from typing import Final

from events.messages.message import Message

_REFUSED: Final = "Nothing was written. Only this request is refused; the server continues."
_WRITES_STOP: Final = "Writes are refused. Reads continue, and nothing was lost."

EVENTAPI_ERROR: Final = Message(
    "eventapi could not complete the command or request",
    "Nothing that was acknowledged was lost.",
    "repeat the command or request; if it fails again, report the text",
)
REFUSAL: Final = Message(
    "a rule refuses the command",
    _REFUSED,
    "correct the command or request, and repeat it",
)
NOT_FOUND: Final = Message(
    "it does not exist, or the caller may not see it",
    _REFUSED,
    "check the name or number; `eventapi users list`, `eventapi webhooks list` and "
    "`eventapi log show` show them",
)
USERNAME_TAKEN: Final = Message(
    "another user has this username (upper and lower case count as equal)",
    _REFUSED,
    "choose another username; `eventapi users list` shows those in use",
)
EMAIL_TAKEN: Final = Message(
    "another user has this email address",
    _REFUSED,
    "use another address; `eventapi users list` shows those in use",
)
UNAUTHENTICATED: Final = Message(
    "the request has no access token, or one that is no longer valid",
    _REFUSED,
    "the client logs in again: POST /auth/login",
)
INVALID_CREDENTIALS: Final = Message(
    "the username or the password is wrong",
    _REFUSED,
    "the client logs in with the right ones: POST /auth/login",
)
WRONG_PASSWORD: Final = Message(
    "the password that confirms the request is wrong",
    _REFUSED,
    "the client repeats the request with the right password",
)
ACCOUNT_DISABLED: Final = Message(
    "an operator disabled the account",
    _REFUSED,
    "`eventapi users enable NAME`, if the user may log in again",
)
SECOND_FACTOR_REQUIRED: Final = Message(
    "the account needs a code of its second factor",
    _REFUSED,
    "the client sends challenge and code: POST /auth/login/second-factor",
)
EMAIL_UNVERIFIED: Final = Message(
    "the email address of the account is not verified",
    _REFUSED,
    "the user opens the link in the mail; POST /auth/email/verification sends another",
)
FORBIDDEN: Final = Message(
    "the user lacks the role that the request needs",
    _REFUSED,
    "`eventapi users grant NAME auditor`, if the user may do this",
)
PRECONDITION_FAILED: Final = Message(
    "the entity changed after the client read it",
    _REFUSED,
    "the client reads it again, and sends its new ETag in If-Match",
)
QUOTA_EXCEEDED: Final = Message(
    "the items of the user have reached the quota",
    "Nothing was written. Only requests that would add to the items of this user are refused.",
    "the user deletes items, or you raise EVENTAPI_USER_QUOTA_BYTES or EVENTAPI_USER_QUOTA_ITEMS",
)
UNKNOWN_KIND: Final = Message(
    "a newer version of this application has changed the kind",
    "Nothing was written. Requests for other resources are answered.",
    "restart this server with the newer version of the application",
)
ACTION_REFUSED: Final = Message(
    "the action is refused",
    _REFUSED,
    "read the user or the resource again; the rule of a declared action is in its application",
)
NOT_UNIQUE: Final = Message(
    "another resource has this value already",
    _REFUSED,
    "the client chooses another value, or changes the other resource first",
)
IDEMPOTENCY_KEY_REUSED: Final = Message(
    "the Idempotency-Key was used before, for another request",
    _REFUSED,
    "the client sends the request with a new key",
)
REQUEST_IN_PROGRESS: Final = Message(
    "the first request with this Idempotency-Key is still running",
    _REFUSED,
    "the client waits for a second, and repeats the request",
)
INVALID: Final = Message(
    "a value is not valid",
    _REFUSED,
    "correct the values that are named, and repeat the command or request",
)
OVERLOADED: Final = Message(
    "too many requests are waiting",
    "Nothing of this request was written, and nothing was lost. Other requests continue.",
    "nothing, if it passes: clients repeat the request after the seconds in Retry-After; if it "
    "lasts, look up the queues of GET /metrics in docs/observability.md",
)
SHARE_USED_UP: Final = Message(
    "this caller has the maximum number of waiting requests",
    _REFUSED,
    "nothing: the client waits for its answers, and then repeats the request",
)
STORAGE_FULL: Final = Message(
    "there is no disk space left for the log or the vault",
    "New content is refused. Reads continue, and nothing was lost. Until the reserve is used up, "
    "users can log out, be disabled and be erased.",
    "free disk space (df -h shows which disk is full); writes then resume automatically",
)
LOG_ERROR: Final = Message(
    "an operation on the log failed",
    "Nothing of this request was written.",
    "`eventapi log verify`",
)
LOG_UNAVAILABLE: Final = Message(
    "the log cannot be reached, or its lock was not acquired in time",
    "Nothing of this request or command was written, and nothing was lost. Reads continue.",
    "repeat it; if it fails again, find the process that holds the lock: "
    "fuser -v DATA/events.jsonl.lock",
)
LOG_CONFLICT: Final = Message(
    "other appenders were first, until the time was over",
    _REFUSED,
    "repeat it; if it fails often, let fewer nodes of the Galera cluster write",
)
POSITION_NOT_REACHED: Final = Message(
    "a client asks for a position that the log has not reached",
    _REFUSED,
    "the client corrects Min-Event-Position, or repeats the request later",
)
LOG_UNREACHABLE: Final = Message(
    "the database of the log does not answer",
    f"{_WRITES_STOP} Reads show the state before the database was lost.",
    "start the database, or fix the network to it; writes then resume automatically",
)
LOG_NOT_CHECKED: Final = Message(
    "the hash chain of the log is still being checked",
    "Nothing is signed or proved until it is. All other requests are answered, and writes continue.",
    "nothing: repeat it when `chain_check` of GET /health is done",
)
LOG_FENCED: Final = Message(
    "a sync of the log failed",
    "Writes have stopped, and every process of this server ends with code 74. Everything that was "
    "acknowledged is on the disk; the requests that were being written got an error.",
    "check the kernel log for disk errors (dmesg), start the server again, then "
    "`eventapi log verify`",
)
DAMAGED_LOG: Final = Message(
    "the log is damaged: some bytes are not what was written",
    "Nothing was changed, and no server starts on this log. Everything before the damage is intact.",
    "`eventapi log verify` lists all damage; then move the log away and type "
    "`eventapi log restore COPY` (docs/operating.md, Restore)",
)
DAMAGED_MARK: Final = Message(
    "Only the mark is damaged, not the log: {path}",
    "No server starts until the mark is removed. Nothing was changed. The mark contains no events; it "
    "only records how far the log is written.",
    "`eventapi log verify`; if it reports only the mark: rm {path}",
)
MISSING_EVENTS: Final = Message(
    "acknowledged events are missing from the log",
    "Nothing was changed, and no server starts on this log: the missing events would be lost for "
    "good.",
    "put the newest log back; if there is none, move the log away and type "
    "`eventapi log restore COPY` with the newest copy (docs/operating.md, Restore)",
)
DIVERGED_LOG: Final = Message(
    "the copy does not begin with the same events as the log",
    "Nothing was copied, and the copy is unchanged. Either it is a copy of another log, or one of the "
    "two was rewritten.",
    "`eventapi log verify COPY --prefix-of LOG` shows where they differ; keep both until that is "
    "clear, and copy to a new place: `eventapi log copy TO`",
)
SIGNING_SUSPENDED: Final = Message(
    "the log may contradict its last checkpoint",
    "Nothing is signed until an operator decides (docs/operating.md, Restore). Writes continue.",
    "`eventapi log restore --checkpoint FILE` with the newest known checkpoint (a file or a URL), or "
    "`eventapi log restore --new-key`",
)
UNKNOWN_EVENT: Final = Message(
    "the log contains an event that a newer version of eventapi wrote",
    "Nothing is damaged, lost or changed. This version can neither serve nor write this log.",
    "install the version that wrote it, or a newer one, and repeat the command",
)
APPLICATION_FAILED: Final = Message(
    "the code of the application raised an exception",
    "Nothing was written. Only this request failed; the server continues.",
    "correct the action or query that is named, with the traceback, and restart the server",
)
PROJECTION_FAILED: Final = Message(
    "a projection has stopped, because the code of the application raised an exception",
    "All other requests are answered, and writes continue. Nothing was lost.",
    "read the traceback in the log of the server, correct `apply` of the projection, and restart",
)
PROJECTION_NOT_READY: Final = Message(
    "a projection is computed anew, because its code changed",
    "All other requests are answered, and writes continue.",
    "nothing: it is answered again once it has caught up with the log",
)
VAULT_UNAVAILABLE: Final = Message(
    "the vault, which holds the keys of all users, cannot be read or written",
    "Nothing was written. Personal values cannot be read without the keys; they are not lost as long "
    "as the vault or a copy of it exists.",
    "fix the cause that the text names; if the vault is lost, put its newest copy back: "
    "`eventapi log restore --vault KEYS`",
)
FOLLOWERS_UNAVAILABLE: Final = Message(
    "the progress of followers cannot be read or written",
    "Requests and writes continue. Mail is sent when it works again, and none is lost.",
    "free disk space, or fix the permissions of followers.sqlite or the network to the database; it is "
    "retried automatically",
)
LEASE_LOST: Final = Message(
    "another process runs the follower now",
    "Requests and writes continue. Some mail may be sent twice, and none is lost.",
    "nothing",
)
NOT_DELIVERED: Final = Message(
    "an event could not be delivered",
    "Requests and writes continue. Later deliveries wait, and none is lost.",
    "fix the cause that is named; it is retried automatically",
)
MAIL_NOT_REMOVED: Final = Message(
    "the mails of an erased user cannot be removed from the outbox",
    "Writes continue, and the user is erased. The outbox still contains the user's address.",
    "fix the permissions of the outbox; it is retried every second, and by "
    "`eventapi users erase --finish`",
)
CLOCK_JUMPED: Final = Message(
    "the clock of this machine cannot be right",
    _WRITES_STOP,
    "correct the clock, and writes resume automatically; if the clock is right, restart the server "
    "once with `eventapi serve --accept-clock`",
)
CONFIGURATION_ERROR: Final = Message(
    "a setting, a file or a directory cannot be used",
    "Nothing was changed, and no server runs with this setting.",
    "correct it, and repeat the command; `eventapi config` shows every setting and its origin",
)
