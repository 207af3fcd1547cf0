"""Messages about archives of the log."""

from __future__ import annotations

from typing import Final

from events.messages.message import Message

ARCHIVE_DAMAGED: Final = Message(
    "the archive {place} is damaged at position {position:,}: {reason}",
    "Nothing was changed. The log that was archived is not affected, and all other objects can be "
    "read.",
    "`eventapi log verify {place}` lists all damage; if the log is there, write the objects again: "
    "`eventapi log archive {place} --rewrite`",
)
ARCHIVED_LINE_UNUSABLE: Final = Message(
    "event {position} in the archive {place} is as it was archived, but cannot be used: {reason}",
    "Nothing was changed.",
    "if a seal cannot be opened, name the data directory with the keys of this log: --data DIR; "
    "otherwise the log was damaged before: `eventapi log verify {place}`",
)
ARCHIVE_KEY_MISSING: Final = Message(
    "the key {name}, which signed the checkpoint of the archive, is not in the data directory",
    "Nothing was signed or changed.",
    "name the data directory of the server that signed it: --data DIR",
)
ARCHIVE_READ_ONLY: Final = Message(
    "{place} is an archive, which is read-only",
    "Nothing was written.",
    "name a log that can be written, or copy the archive into one first: "
    "`eventapi log copy {place} TO`",
)
ARCHIVE_UNREACHABLE: Final = Message(
    "the archive {place} cannot be used: {object}: {reason}",
    "The log and the objects that the archive already has are unchanged.",
    "check the place, its permissions, and for a bucket the variables AWS_*; then repeat the command",
)
ARCHIVE_FULL: Final = Message(
    "there is no room for the archive {place}: {reason}",
    "The log is unchanged, and the archive has the events that its checkpoint states.",
    "make room, and repeat the command: it goes on",
)
NO_ARCHIVE: Final = Message(
    "there is no archive at {place}: it has no checkpoint",
    "Nothing was changed.",
    "check the name, or make the archive: `eventapi log archive {place}`",
)
ARCHIVE_AHEAD: Final = Message(
    "the archive {place} has {archived:,} events, the log only {events:,}",
    "Nothing was archived, and the archive is unchanged. Events are missing from the log, or it is "
    "another one.",
    "`eventapi log verify`; if the log lost events, copy the archive back: "
    "`eventapi log copy {place} TO`",
)
ARCHIVE_OF_OTHER_LOG: Final = Message(
    "the archive {place} is of another log: its first {archived:,} events are not those of the log",
    "Nothing was archived, and the archive is unchanged. Either it is of another log, or one of the two "
    "was rewritten.",
    "keep both until that is clear, and archive to a new place: `eventapi log archive TO`",
)
ARCHIVE_WITHOUT_CHECKPOINT: Final = Message(
    "the archive {place} has lines, but it has no checkpoint",
    "Nothing was archived, and the archive is unchanged. Its first run was interrupted or is still "
    "running, or the checkpoint was lost.",
    "put the checkpoint back; if there is none, write all objects again: "
    "`eventapi log archive {place} --rewrite`",
)
ARCHIVE_OVERTAKEN: Final = Message(
    "another run has archived {archived:,} events to {place} meanwhile, which this run cannot continue",
    "The log and the checkpoint of the other run are unchanged. If that archived another log, some "
    "objects may be wrong.",
    "archive only one log to a place; repeat the command, which compares them, and then "
    "`eventapi log verify {place}`",
)
LOG_CHANGED: Final = Message(
    "the log changed while it was archived: its events are not those that were signed",
    "The checkpoint of the archive is unchanged. Nothing was written to the log.",
    "`eventapi log verify`",
)
NO_OBSTORE: Final = Message(
    "an archive in a bucket needs the package obstore",
    "Nothing was changed.",
    "install the extra: pip install 'eventapi-server[s3]'; or archive into a directory",
)
ARCHIVE_TARGET: Final = Message(
    "{place} is an archive or a bucket, which has another form than a log",
    "Nothing was copied.",
    "`eventapi log archive {place}`",
)
ARCHIVE_RESTORE: Final = Message(
    "{place} is an archive, which cannot be restored directly",
    "Nothing was changed.",
    "copy it into a file first, which verifies it: `eventapi log copy {place} FILE`, then "
    "`eventapi log restore FILE`",
)
LOG_WITHOUT_KEY: Final = (
    "the log has no signing key, but the checkpoint of the archive was signed with one"
)
ARCHIVE_NOT_SIGNED: Final = Message(
    "nothing is archived without a new checkpoint: {reason}",
    "Nothing was archived, and the archive is unchanged.",
    "settle which key signs (docs/operating.md, Restore), and repeat the command; "
    "`eventapi log copy TO` makes a backup meanwhile",
)
NOT_FOR_ARCHIVE: Final = Message(
    "{place} is a directory with other files in it, such as {name}",
    "Nothing was archived.",
    "name a directory of its own: `eventapi log archive TO`",
)
ARCHIVE_LINES_DAMAGED: Final = Message(
    "{name} is DAMAGED: events are damaged or missing; good up to event {good}{rest}",
    "Nothing was changed. The log that was archived is not affected, and objects without a finding can "
    "be read.",
    "if the log is there, write the objects again: `eventapi log archive {name} --rewrite`; otherwise put "
    "the objects back from a copy of the archive",
)
TILES_DAMAGED: Final = Message(
    "Only hashes of {name} are DAMAGED: its {events:,} events are whole and chained",
    "Nothing was changed. Every event is as it was written, but not all of them can be read or proven.",
    "write the objects again from the log: `eventapi log archive {name} --rewrite`",
)
