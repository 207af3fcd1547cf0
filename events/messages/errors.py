"""Messages of errors that need another severity or advice than their class has."""

from __future__ import annotations

from typing import Final

from events.messages.error_classes import (
    DAMAGED_LOG,
    MISSING_EVENTS,
    SIGNING_SUSPENDED,
    VAULT_UNAVAILABLE,
)
from events.messages.message import Message

_STOPPED: Final = "Writes have stopped, and every process of this server ends with code 74."
NAME_LOG: Final = "name the server's log: --log or EVENTAPI_LOG"
NAME_DATA: Final = "name the server's data directory: --data DIR or EVENTAPI_DATA"
_UNCHANGED: Final = "Nothing was changed, and no server runs."
_UNSIGNED: Final = SIGNING_SUSPENDED.severity

# Settings

BAD_SETTING: Final = Message(
    "a setting cannot be used",
    "Nothing was changed, and no server runs with this setting.",
    "correct it at the origin that the text names, and repeat the command; docs/settings.md has every "
    "setting",
)

# Files

SEGMENT_DAMAGED: Final = Message(
    "the closed segment {path} is damaged: {reason}",
    "Nothing was changed. Its events cannot be read, and no server starts that must read them. "
    "Everything before the damage is intact.",
    "put {path} back from a copy: it never changed since it was closed; without one, "
    "`eventapi log restore COPY`",
)
SEGMENT_MISSING: Final = Message(
    "the closed segment {path} is missing",
    "Nothing was changed. A log is its open file and the directory of its closed segments, and a part "
    "of it cannot be used.",
    "put {path} back; a copy needs the whole directory, too; without one, `eventapi log restore COPY`",
)
SEGMENT_FOREIGN: Final = Message(
    "a closed segment in {directory} is not of this log: its size moves all later lines",
    "Nothing was changed.",
    "put the files of {directory} back from a copy of this log: they never changed since they were "
    "closed; without one, `eventapi log restore COPY`",
)
LOG_FILE_OLD: Final = Message(
    "the closed segment {segment} has events up to {last:,}, which {path} does not reach: {path} is "
    "an older copy",
    "Nothing was lost yet: the newer events are in the closed segment.",
    "put the newest {path} back; to give the newer events up, move {segment} away",
)
SEGMENT_SET_ASIDE: Final = Message(
    "the closed segment {path} does not have the lines of {log}: it was moved to {kept}",
    "Nothing was deleted, and writes continue. If an older copy of the log was put back, the events that "
    "were acknowledged after it are in that file.",
    "`zstdcat {kept}` shows them; `eventapi log verify` checks the log",
)
LOG_FILE_EMPTY: Final = Message(
    "{path} is empty, though the log has closed segments",
    "Nothing was changed. The newest events are missing.",
    "put the newest copy of {path} back; without one, `eventapi log restore COPY`",
)
FIRST_LINE_UNREADABLE: Final = Message(
    "the first line of {path} is not that of a log",
    DAMAGED_LOG.severity,
    "put {path} back from a copy; without one, `eventapi log restore COPY`",
)
LOG_FILE_GONE: Final = Message(
    "{loss} while it was in use",
    f"{_STOPPED} Acknowledged events are in the file that was removed or replaced, and are lost "
    "unless that file was only moved.",
    "put the file back and start the server again; if it is lost, `eventapi log restore COPY`",
)
FILE_GONE: Final = Message(
    "{loss} while it was in use",
    f"{_STOPPED} Nothing was lost: this file contains no events, and the next start creates a new "
    "one.",
    "start the server again: `eventapi serve`",
)
VAULT_FILE_GONE: Final = Message(
    "{loss} while it was in use",
    f"{_STOPPED} The keys are in the file that was removed or replaced; personal values cannot be "
    "read without them or a copy of them.",
    "put the file back, or its newest copy, and start the server again: `eventapi serve`",
)
NOT_A_DIRECTORY: Final = Message(
    "{path} {reason}",
    _UNCHANGED,
    f"{NAME_DATA}; `eventapi config` shows the current one",
)
NOT_A_FILE: Final = Message(
    "{path} is {kind}, but must be a file",
    _UNCHANGED,
    "mv {path} {path}.away, put the file back if there is a copy of it, and start again; "
    "docs/operating.md, Lost files, explains each file",
)
NOT_A_LOG: Final = Message(
    "{path} is not a log: it does not begin like one",
    "Nothing was changed.",
    "check EVENTAPI_LOG and EVENTAPI_DATA with `eventapi config`; to import data of another service, "
    "type `eventapi log import FILE`",
)
NOT_A_REGULAR_FILE: Final = Message(
    "the log {path} is not a regular file",
    _UNCHANGED,
    "name a file, or the directory that contains it: --log PATH or EVENTAPI_LOG",
)

# A missing log

NO_LOG: Final = Message(
    "there is no log at {place}: {advice}",
    "Nothing was changed. If a server runs elsewhere, its log is not affected.",
    "repeat the command with that option; to create a new log there, type `eventapi serve`",
)
NO_LOG_BEHIND_LINK: Final = Message(
    "the log {path} is a symbolic link to a missing file",
    "Nothing was changed. The log may be on a disk that is not mounted.",
    "mount the disk or correct the link (ls -l {path}), and repeat the command",
)
LOG_LOST: Final = Message(
    "{state} {path}, but there was one: {found}",
    "Nothing was changed, and no server starts: an empty log would hide the loss.",
    "put the log back; if it is lost: {first}`eventapi log restore COPY --data {directory}`; to "
    "create a new log, move these files to another directory first",
)
DATABASE_LOG_LOST: Final = Message(
    "there is no log at {place}, but there was one: {found} in {directory}",
    "Nothing was changed, and no server starts: an empty log would hide the loss.",
    "restore the database, or type `eventapi log copy COPY {place}`; to create a new log, move "
    "these files to another directory first",
)
LOG_FILE_LOST: Final = Message(
    "the file is missing, but {events:,} events were acknowledged",
    MISSING_EVENTS.severity,
    "put the log back; if it is lost, `eventapi log restore COPY` with the newest copy",
)
DATABASE_BEHIND: Final = Message(
    "{events:,} events were acknowledged here, and the database {lack}: it is a standby that was "
    "behind, an older copy, or another log",
    "Nothing was changed. Writes are refused, because they would make the loss of those events final.",
    "start the database that has them, and writes resume automatically; if it is lost, restore the "
    "newest backup; only if you give those events up: rm {mark}, then start the server again",
)

# Databases

COMMIT_UNKNOWN: Final = Message(
    "the connection to the database was lost during a commit",
    "This one request may or may not have been written. Nothing that was acknowledged was lost.",
    "start the database, and repeat the request with the same Idempotency-Key, or look for its event "
    "with `eventapi log tail`",
)
UNSAFE_DATABASE: Final = Message(
    "the database runs with {name} = {value}, so that a commit may be lost in a power cut",
    "Nothing was changed. The server does not start, because it could lose writes that it "
    "acknowledged.",
    "set {name} = {good} in the configuration of the database, reload it, and start the server again",
)

# Keys

VAULT_MISSING: Final = Message(
    "there is no vault at {path}",
    "Nothing was changed. Personal values cannot be read without its keys; they are not lost as long "
    "as a copy of the vault exists.",
    "put the vault back, or its copy: cp KEYS {path}",
)
BROKEN_SEAL: Final = Message(
    "the seal is broken, or the key of {subject} in the vault is that of another log",
    "Nothing was changed, and no server starts on this log with this vault.",
    "`eventapi log verify`; if it finds the log whole, move the vault away and type "
    "`eventapi log restore --vault KEYS`; otherwise move the log away and type "
    "`eventapi log restore COPY` (docs/operating.md, Restore)",
)
USERS_WITHOUT_KEYS: Final = Message(
    "{who} no key ({names}). Either this vault belongs to another log, or {they} erased after this "
    "copy was made.",
    "Nothing was changed, and no server starts. Nothing is lost as long as a copy of the keys exists.",
    "`eventapi log restore --vault KEYS` with the newest copy of the keys, which has every key and "
    "every erasure",
)
KEY_MISSING: Final = Message(
    "the key of {subject} is missing from the vault",
    "Nothing of this request was written. Other users are not affected.",
    "`eventapi log verify --seals` lists the users without a key; then "
    "`eventapi log restore --vault KEYS`",
)
VAULT_FAILED: Final = Message(
    "the vault {path} failed: {reason}",
    "Nothing was written. Reads continue, and nothing was lost.",
    "fix the disk or the permissions of {path}; writes then resume automatically",
)
NOT_A_VAULT: Final = Message(
    "the file {path} is not a vault: {reason}",
    VAULT_UNAVAILABLE.severity,
    "put the vault back, or its newest copy: cp KEYS {path}",
)
VAULT_UNUSABLE: Final = Message(
    "the vault {path} cannot be opened: {reason}",
    VAULT_UNAVAILABLE.severity,
    "fix the permissions of the file; if it is damaged, put its newest copy back: cp KEYS {path}",
)

# Signing

LOG_KEY_UNREADABLE: Final = Message(
    "the log's key {path} cannot be read: {reason}",
    "Nothing is signed until the key can be read. Writes continue, and nothing was lost.",
    "fix the permissions of {path}, or put its copy back; if the key is lost, mv {path} {path}.lost, then "
    "`eventapi log restore --new-key`",
)
LOG_KEY_MISSING: Final = Message(
    "The log's key {name} is missing, and it has signed checkpoints of this log.",
    _UNSIGNED,
    "put the key back; if it is lost, `eventapi log restore --new-key`",
)
LOG_KEY_UNCONFIRMED: Final = Message(
    "The log's key was copied or restored to this place, has no register here, or was used on another "
    "machine. So a newer checkpoint may exist than the ones known here.",
    _UNSIGNED,
    SIGNING_SUSPENDED.next,
)
CHECKPOINT_AHEAD: Final = Message(
    "The log contradicts its last checkpoint: that covers {signed:,} events, and the log has {size:,}.",
    _UNSIGNED,
    SIGNING_SUSPENDED.next,
)
CHECKPOINT_CONTRADICTED: Final = Message(
    "The log contradicts its last checkpoint: its first {signed:,} events are not the ones that were "
    "signed.",
    _UNSIGNED,
    SIGNING_SUSPENDED.next,
)
NOT_COSIGNED: Final = Message(
    "no checkpoint of this log has been cosigned by enough witnesses yet",
    "Nothing was changed.",
    "name witnesses in EVENTAPI_WITNESSES, and read the server's log; or send `eventapi log checkpoint` "
    "to a witness yourself, then `eventapi log checkpoint --cosigned FILE`",
)
CHECKPOINT_NOT_COSIGNED: Final = Message(
    "{checkpoint} is not cosigned by enough witnesses of the policy; valid cosignatures: {names}",
    "The log was not checked. Nothing was changed.",
    "get a newer one: http://SERVER/log/cosigned; if it has no cosignatures either, the log may show "
    "different histories to different readers",
)
POLICY_UNUSABLE: Final = Message(
    "the policy {path} cannot be used: {reason}",
    "Nothing was changed, and no server runs with it.",
    "correct the file; docs/witnesses.md has an example",
)
FOLLOWERS_FAILED: Final = Message(
    "the progress of followers in {path} cannot be used: {reason}",
    "Requests and writes continue. Mail is sent when it works again, and none is lost.",
    "free disk space, or fix the permissions of {path}; if it is damaged: `rm {path}`, and the mails of the "
    "last 24 hours may be sent again",
)
OUTBOX_FAILED: Final = Message(
    "the mails of an erased user cannot be removed from {path}: {reason}",
    "Writes continue, and the user is erased. The outbox still contains the user's address.",
    "fix the permissions of {path}; it is retried every second, and by `eventapi users erase --finish`",
)
