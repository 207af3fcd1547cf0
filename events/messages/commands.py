"""Messages of the command line: findings, and reasons why commands failed."""

from __future__ import annotations

from typing import Final

from events.messages.error_classes import MISSING_EVENTS, SIGNING_SUSPENDED
from events.messages.errors import LOG_KEY_UNREADABLE, USERS_WITHOUT_KEYS
from events.messages.message import Message

_UNCHANGED: Final = "Nothing was changed."
_UNCOPIED: Final = "The log was only read. Do not use the copy as a backup."

# Defaults for errors without a message of their own

COULD_NOT_RUN: Final = Message(
    "a command could not run",
    "The command stopped there. The log contains only whole events.",
    "correct what the text names, and repeat the command",
)
MISUSE: Final = Message(
    "a command or a setting is not valid",
    _UNCHANGED,
    "correct it, and repeat the command; `eventapi config` shows every setting and its origin",
)
NEGATIVE_RESULT: Final = Message(
    "a command ran, and its result is negative",
    _UNCHANGED,
    "correct what the text names, and repeat the command",
)
SYSTEM_ERROR: Final = Message(
    "the operating system reported an error",
    "The command stopped there. The log contains only whole events.",
    "fix the disk, file or permission that the text names, and repeat the command",
)

NOT_UTF8: Final = Message(
    "an argument of the command, or a setting, is not UTF-8",
    _UNCHANGED,
    "type it in a terminal whose encoding is UTF-8, and repeat the command",
)

# Naming the log and a place in it

NO_DATA_DIRECTORY: Final = Message(
    "there is no directory {path}",
    _UNCHANGED,
    "name the server's data directory: --data DIR or EVENTAPI_DATA",
)
NO_POSITION: Final = Message(
    "there is no position {position} yet: the log ends at {end}",
    _UNCHANGED,
    "name a position up to {end}; `eventapi log tail` shows the last events",
)
NO_SECRET_KEY: Final = Message(
    "there is no secret key in {path}, so no server would accept what this command makes",
    _UNCHANGED,
    "start the server, which makes one, or name its settings: --data DIR, EVENTAPI_SECRET_KEY",
)

# users export

EVENTS_UNPROVEN: Final = Message(
    "{count} events about {name} have no proof: they are after the newest checkpoint, if there is one",
    "The log was only read. The export is complete: those lines have null as their proof.",
    "`eventapi log checkpoint` signs a newer checkpoint; then export again",
)

# log show

OPEN_WITH_JSON: Final = Message(
    "--json prints the bytes of the log, which --open cannot change",
    _UNCHANGED,
    "`eventapi log show --open` or `eventapi log show --json`",
)
NO_SUCH_TYPE: Final = Message(
    "--type: no event of this log has the type {type}, and no resource declares it",
    _UNCHANGED,
    "name one of {types}, or the modules whose resources declare it: --resources or "
    "EVENTAPI_RESOURCES",
)
LINE_UNREADABLE: Final = Message(
    "the event at position {position} cannot be read: {reason}",
    "The log was only read. Events before this one are shown.",
    "`eventapi log verify --seals`",
)
VALUES_CLOSED: Final = Message(
    "personal values cannot be opened: {reason}",
    "The log was only read. Events are shown without those values.",
    "run the command as the server's user and with its settings; if the keys are lost, "
    "`eventapi log restore --vault KEYS`",
)

# log verify: results

WHOLE: Final = Message(
    "{name} is whole: {events:,} events, {bytes:,} bytes",
    "Every event is as it was written, and in its place.",
    "nothing",
)
WHOLE_WITH_TAIL: Final = Message(
    "{name} is whole: {events:,} events, {bytes:,} bytes",
    "Every acknowledged event is as it was written. The bytes after them are being written, or were "
    "left by a crash.",
    "nothing: the next write or start keeps the whole events in those bytes",
)
DAMAGED: Final = Message(
    "{name} is DAMAGED: good up to event {good}{rest}",
    "Nothing was changed. Events up to {good} are as they were written. No server starts on this "
    "log, and a running one refuses to write.",
    "move the log away, then `eventapi log restore COPY` with a copy that verifies "
    "(docs/operating.md, Restore)",
)
NO_SEAL_OPENS: Final = Message(
    "{name} is DAMAGED, or the vault is that of another log: no key opens any of its seals",
    "Nothing was changed. All lines are whole and chained; either this vault does not belong to them, or "
    "all seals were replaced and the chain was made again.",
    "name the data directory with the vault of this log (`--data DIR`); if that is this one, `eventapi log "
    "restore COPY` with a copy that verifies (docs/operating.md, Restore)",
)
INCOMPLETE: Final = Message(
    "{name} is an INCOMPLETE copy: good up to event {good}, followed by a part of an event",
    "Nothing was changed. Events up to {good} are as they were written.",
    "make the copy again: `eventapi log copy TO`; a server that starts on this file keeps the {good} "
    "events",
)
SHORTENED: Final = Message(
    "{name} is DAMAGED: good up to event {good}, and the acknowledged events after it are gone",
    MISSING_EVENTS.severity,
    MISSING_EVENTS.next,
)
CONTRADICTS_CHECKPOINT: Final = Message(
    "{name} contradicts the checkpoint of {signed:,} events, though its {events:,} events are whole "
    "and chained: it was rewritten, is an older copy, or is another log",
    "Nothing was changed. A server starts on this log, but signs nothing until an operator decides.",
    "`eventapi log verify --checkpoint FILE --key KEY`, with the key that `eventapi log checkpoint --key` "
    "prints: if it did not sign the checkpoint, that is damaged, and not the log. Otherwise put the "
    "newest log back; if there is none, see docs/operating.md, Restore: `eventapi log restore --new-key`",
)
PREFIX_DIFFERS: Final = Message(
    "The files differ from event {position:,} on: one of them was rewritten.",
    "Nothing was changed. Up to event {good} both are the same, byte for byte.",
    "`eventapi log verify PATH --checkpoint FILE` on each of them: the rewritten one contradicts a "
    "checkpoint that was signed before",
)
PREFIX_SHORTER: Final = Message(
    "The other file ends after event {good}: it is shorter than this one.",
    "Nothing was changed. Up to there both are the same, byte for byte.",
    "give the longer file to --prefix-of: `eventapi log verify SHORTER --prefix-of LONGER`",
)
KEYS_MISSING: Final = Message(
    "{who} no key ({names}). Either this vault belongs to another log, or {they} erased after this "
    "copy was made.",
    "Nothing was changed. The {events:,} events are whole. No server starts with these keys.",
    USERS_WITHOUT_KEYS.next,
)
ONLY_MARK_DAMAGED: Final = Message(
    "Only the mark is damaged, not the log: all {events:,} events in {name} are whole",
    "Nothing was lost or changed. No server starts until the damaged mark is gone.",
    "rm {mark}, and start the server, which checks all events and makes a new mark",
)
MARK_OF_OTHER_LOG: Final = Message(
    "Only the mark is wrong, not the log: all {events:,} events in {name} are whole, but the mark "
    "belongs to another log",
    "Nothing was changed. No server starts on this log with this mark.",
    "put the log of this mark back; if this log is the right one: rm {mark}, and start the server, "
    "which makes a new mark",
)
DATABASE_HEAD_DIFFERS: Final = Message(
    "{name} is DAMAGED: its {events:,} events are chained, but its head row names another event",
    "Nothing was changed. Events at the end are missing, or rows were changed by hand.",
    "restore the newest backup of the database (docs/operating.md, Restore)",
)
NEWER_VERSION: Final = Message(
    "{name} was written by a newer version of eventapi: its {events:,} events are whole and chained, "
    "but some have types or shapes that this version does not know",
    "Nothing is damaged, lost or changed. This version can neither serve nor write this log.",
    "install the version that wrote it, or a newer one, then `eventapi log verify`",
)

# log verify: inputs that cannot be used

NOT_A_REGULAR_FILE: Final = Message(
    "{path} is not a regular file",
    _UNCHANGED,
    "keep the log in a file, then `eventapi log verify PATH`",
)
KEY_UNUSABLE: Final = Message(
    "{reason}",
    _UNCHANGED,
    "give the verifier key as `eventapi log checkpoint --key` prints it",
)
CHECKPOINT_NOT_SIGNED: Final = Message(
    "the checkpoint {checkpoint} is not signed by {key}",
    "Nothing was changed, and the log was not checked: this checkpoint proves nothing about it.",
    "take the checkpoint from the server itself, or give the key that `eventapi log checkpoint --key` "
    "prints there",
)
CHECKPOINT_UNUSABLE: Final = Message(
    "the checkpoint {checkpoint} cannot be used: {reason}",
    "Nothing was changed, and the log was not checked.",
    "give another copy of the checkpoint: `eventapi log verify --checkpoint FILE`",
)
DATABASE_BEHIND_MARK: Final = Message(
    "{acknowledged:,} events were acknowledged here, and the database has {events:,}",
    "Nothing was changed. The database was restored to an older state, or is another one; the later "
    "events are missing.",
    "restore the newest backup of the database (docs/operating.md, Restore)",
)

# log copy

SAME_LOG: Final = Message(
    "{name} is the log itself",
    "Nothing was copied.",
    "name another place: `eventapi log copy TO`",
)
SAME_VAULT: Final = Message(
    "{name} is the vault itself",
    "Nothing was copied.",
    "name a file in another place than the log: `eventapi log copy TO --vault FILE`",
)
VAULT_WITH_DATABASE: Final = Message(
    "a log in a database has its keys in the database: --vault cannot be used",
    "Nothing was copied.",
    "`eventapi log copy TO` without --vault: the keys are copied too",
)
COPY_NOT_WHOLE: Final = Message(
    "the copy is not whole: {finding}",
    _UNCOPIED,
    "`eventapi log verify` on the log itself; if that is whole, remove the copy and make it again: "
    "`eventapi log copy TO`",
)
COPY_DIFFERS: Final = Message(
    "the copy is not the log that it was made of",
    _UNCOPIED,
    "copy into an empty database: `eventapi log copy URL`",
)
COPY_STATE_DIFFERS: Final = Message(
    "the state computed from the copy differs from that of the log",
    _UNCOPIED,
    "`eventapi log verify --seals` on both, and report it",
)
NO_NEW_CHECKPOINT: Final = Message(
    "the copy has no new checkpoint: {reason}",
    "Nothing was lost. The copy is whole and was checked, but no signature proves it.",
    SIGNING_SUSPENDED.next,
)

# Copies of keys

OTHER_KEY: Final = Message(
    "the copy has another key for {subject} than the vault of this log, so one of the two belongs to "
    "another log",
    _UNCHANGED,
    "check both with `eventapi log verify --seals`; if the vault of the log is the wrong one, move it "
    "away and repeat the command",
)
KEYS_OF_OTHER_LOG: Final = Message(
    "the keys there belong to another log",
    "No key there was changed.",
    "name another FILE: `eventapi log copy TO --vault FILE`",
)
ERASED_USER_ALIVE: Final = Message(
    "{subject} exists in this log, but the keys there record that the user was erased",
    "No key there was changed.",
    "erase the user again with `eventapi users erase NAME` (the name is in `eventapi users list`), "
    "then copy again",
)

# log restore

DATABASE_RESTORE: Final = Message(
    "a log in a database cannot be restored from FROM",
    _UNCHANGED,
    "`eventapi log copy FROM URL`",
)
NO_COPY: Final = Message(
    "there is no log at {path}",
    _UNCHANGED,
    "name the copy, or the directory that contains it: `eventapi log restore FROM`",
)
NO_PROOF: Final = Message(
    "there is no checkpoint {path}, and without one the copy cannot be proven",
    _UNCHANGED,
    "name a checkpoint of this log: `eventapi log restore FROM --checkpoint FILE`",
)
LOG_IN_THE_WAY: Final = Message(
    "there is already a log at {path}, and a restore replaces nothing",
    _UNCHANGED,
    "stop the server and move the log away (mv {path} {path}.old; mv {path}.segments {path}.old.segments)",
)
NOTHING_SIGNED: Final = Message(
    "no checkpoint of this log has been signed yet",
    _UNCHANGED,
    "nothing: the first key is made when it is needed; to make it now, `eventapi log checkpoint`",
)
CHECKPOINT_OF_OTHER_KEY: Final = Message(
    "the checkpoint is not signed by the log's key {name}",
    "Nothing was changed, and no new key was made.",
    "give a checkpoint that this key signed, or none: `eventapi log restore --new-key`",
)
OWN_KEY_UNREADABLE: Final = Message(
    LOG_KEY_UNREADABLE.text, "Nothing was restored or changed.", LOG_KEY_UNREADABLE.next
)
COPY_NOT_PROVEN: Final = Message(
    "nothing was restored: {reason}",
    "The data directory is unchanged. The copy is not what was signed, or its keys do not fit.",
    "use another copy that verifies, or newer keys: `eventapi log restore FROM --vault KEYS`",
)
COPY_TOO_OLD: Final = Message(
    "nothing was restored: {acknowledged:,} events were acknowledged here, and the copy of {events:,} "
    "does not have them all",
    "The data directory is unchanged. Restoring this copy would lose the later events for good.",
    "find a newer copy; only if you give those events up: rm {mark}, then repeat the command",
)
SIGNATURE_NOT_CHECKED: Final = Message(
    "the signature of the checkpoint was not checked against a key",
    "The log is restored, and fits the checkpoint. It is not known whether your key signed that "
    "checkpoint.",
    "`eventapi log verify --checkpoint FILE --key VKEY` with the verifier key that you kept",
)

# log checkpoint

NOT_A_CHECKPOINT: Final = Message(
    "{path} is not a checkpoint: {reason}",
    "Nothing was stored.",
    "give the file with the witnesses' signatures: `eventapi log checkpoint --cosigned FILE`",
)

# log import

IMPORT_NEEDS_MENDING: Final = Message(
    "nothing was imported: {faults} in the file, listed above",
    _UNCHANGED,
    "correct the file, or accept the changes named above: `eventapi log import FILE --mend`",
)
IMPORT_REFUSED: Final = Message(
    "nothing was imported: {faults} in the file, listed above",
    _UNCHANGED,
    "name the db.json of the old service, or an older copy of it",
)

IMPORT_REPEATED: Final = Message(
    "nothing was imported: every user of the file is already in the log, with the same time of creation",
    _UNCHANGED,
    "nothing, if the file was imported before; to import all of them a second time, under other "
    "names: `eventapi log import FILE --mend`",
)

# snapshot and rebuild

SNAPSHOT_RUNNING: Final = Message(
    "another process is taking a snapshot",
    "Nothing was changed, and writes continue.",
    "wait until it ends; then, if you still need one, `eventapi snapshot`",
)
SNAPSHOT_WRONG: Final = Message(
    "the snapshot at {position:,} was wrong, and the snapshots were removed",
    "The log is whole and nothing in it was lost, but servers that started from this snapshot may "
    "show wrong data.",
    "restart every server of this log, then `eventapi rebuild`, and report it",
)

SNAPSHOTS_DAMAGED: Final = Message(
    "damaged snapshots were removed, at {positions}",
    "Nothing was lost, and writes continue. The next start takes longer.",
    "`eventapi snapshot`",
)

# resources

NO_KIND: Final = Message(
    "there is no kind {kind!r} in this code or in the log",
    _UNCHANGED,
    "`eventapi resources list`; name the modules that declare it: --resources MODULES",
)
RESOURCES_UNREADABLE: Final = Message(
    "this code cannot read the log; faults found: {count}",
    "The log was only read. A server with this code does not start, or refuses these kinds.",
    "follow the advice in each line, and repeat the command",
)

# serve

CANNOT_LISTEN: Final = Message(
    "cannot listen on {place}: {reason}",
    "The server did not start, and nothing was changed.",
    "choose another address: `eventapi serve --host HOST --port PORT`, or --uds PATH; or stop the "
    "server that uses this one",
)
CLOCK_NOT_ACCEPTED: Final = Message(
    "the accepted clock cannot be stored in {path}: {reason}",
    "The server did not start, and nothing was changed.",
    "fix the permissions of {path} or free disk space, then `eventapi serve --accept-clock`",
)
