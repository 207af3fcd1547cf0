"""Messages that the server and the command line write to their log: warnings and errors."""

from __future__ import annotations

from typing import Final

from events.messages.message import Message

_FINE: Final = "Nothing was lost, and writes go on."
_NOTHING: Final = "nothing"
_AGAIN: Final = "nothing, if it stops by itself; it is tried again"

# The log in a file

NO_MARK: Final = Message(
    "No mark was found. All {events:,} events in the file were checked and kept.",
    _FINE,
    "nothing: a new mark was made",
)
TAIL_KEPT: Final = Message(
    "{events:,} events ({bytes:,} bytes) were written by a process that died before it could "
    "publish them. They were checked and kept.",
    _FINE,
    _NOTHING,
)
TAIL_CUT: Final = Message(
    "the last {bytes:,} bytes of the log are not whole events: they were cut off and are kept in "
    "{path}",
    "Nothing that was acknowledged was lost: a process died, or the power was cut, while they were "
    "being written. Writes go on.",
    "nothing; to be sure, `eventapi log verify`",
)
TAIL_PASSED_OVER: Final = Message(
    "the last {bytes:,} bytes of {path} are not whole events, and are passed over",
    "Nothing was changed. All events before them are shown.",
    "`eventapi log verify`; if it is a copy, make it again: `eventapi log copy TO`",
)
MARK_NOT_SYNCED: Final = Message(
    "the mark was not synced: {reason}",
    "Nothing was lost. After a power cut the next start checks more of the log, and takes longer.",
    "look for errors of the disk (dmesg), and check the log: `eventapi log verify`",
)
LOCK_NOT_RELEASED: Final = Message(
    "a lock of the log was not released: {reason}",
    "Nothing was lost. Other processes may be refused writes until this one ends.",
    "restart the server, if writes are refused",
)
RESERVE_RELEASED: Final = Message(
    "the disk of {path} is full: its room is released for events that take rights away",
    "Other writes are refused. Reads go on, and nothing was lost.",
    "free more than {bytes:,} bytes (df -h {path}); writes then go on by themselves",
)
NO_RESERVE: Final = Message(
    "no room can be kept in reserve in {path}: {reason}",
    "Nothing was lost, and writes go on. Once the disk is full, no session can be ended and no user "
    "be erased.",
    "mend the permissions of {path}, and restart the server",
)

# The log in a database

COMMIT_ANSWER_LOST: Final = Message(
    "a commit succeeded though its answer was lost: {reason}",
    _FINE,
    "nothing, if it happens once; else look at the network to the database",
)
DATABASE_AWAITED: Final = Message(
    "waiting for the database {address}, up to {seconds} s more: {reason}",
    "The server does not answer yet. Nothing was lost.",
    "start the database, or mend EVENTAPI_LOG or the network to it; the start then goes on by itself",
)
DATABASE_LOST: Final = Message(
    "the database of the log is lost: {reason}",
    "Writes are refused until it answers. Reads show what is known, and nothing was lost.",
    "start the database, or mend the network to it; writes then go on by themselves",
)
DATABASE_BACK: Final = Message(
    "reconnected to the database of the log", "Writes go on again, and nothing was lost.", _NOTHING
)
NOT_FOLLOWED: Final = Message(
    "the log in the database is not followed, because of a fault of eventapi",
    "Writes and fresh reads are refused until it is followed again. Nothing was lost.",
    "restart the server if it lasts, and report the traceback",
)
NOT_VACUUMED: Final = Message(
    "destroyed keys are not vacuumed yet: {reason}",
    "Writes go on. Pages of the database may have bytes of a destroyed key a little longer.",
    "nothing, if it stops by itself; else type in the database: VACUUM eventapi_keys",
)
SYNC_BINLOG: Final = Message(
    "the database runs with sync_binlog != 1: a replica may miss what the database has",
    "Writes go on. After a crash of the database, a replica that takes its place may lack "
    "acknowledged events.",
    "set sync_binlog = 1 in the configuration of the database",
)

# Snapshots and projections

SNAPSHOT_OF_OTHER_LOG: Final = Message(
    "the snapshot at {position:,} is passed over: it is of another log",
    "Nothing was lost. This start folds the whole log and takes longer.",
    "nothing; to have fast starts again, `eventapi snapshot`",
)
SNAPSHOTS_UNREADABLE: Final = Message(
    "the snapshots are passed over: {reason}",
    "Nothing was lost. This start folds the whole log and takes longer.",
    "mend the permissions of the directory snapshots, then `eventapi snapshot`",
)
SNAPSHOT_PASSED_OVER: Final = Message(
    "the snapshot {name} is passed over: {reason}",
    "Nothing was lost. This start folds more of the log and takes longer.",
    "nothing after an upgrade; else `eventapi rebuild`, which compares and removes wrong ones",
)
SNAPSHOT_REMOVED: Final = Message(
    "the snapshot {name} was damaged and is removed",
    "Nothing was lost, and writes go on: more events are replayed from the log instead.",
    "nothing; to have fast starts again, `eventapi snapshot`",
)
SNAPSHOT_NOT_REMOVED: Final = Message(
    "the snapshot {name} is damaged and cannot be removed: {reason}",
    "Nothing was lost, and writes go on: more events are replayed from the log instead.",
    "mend the permissions of the directory snapshots, then `eventapi rebuild`",
)
NO_SNAPSHOT: Final = Message(
    "no snapshot was taken: {reason}",
    "Nothing was lost, and writes go on. The next start takes longer.",
    "`eventapi snapshot` shows whether it works now",
)
SNAPSHOT_PROCESS_FAILED: Final = Message(
    "the process that takes snapshots ended with code {code}",
    "Nothing was lost, and writes go on. The next start takes longer.",
    "read the lines before this one, then `eventapi snapshot`",
)

# Erasure and keys

ERASED_AGAIN: Final = Message(
    "{who} erased after this log was copied; the erasure was appended again: {names}",
    "What was erased stays erased, and writes go on.",
    _NOTHING,
)
KEYS_NOT_DESTROYED: Final = Message(
    "keys of erased users are not destroyed yet: {reason}",
    "Writes go on, and the users are gone. Until it succeeds, older copies of the log can still be "
    "read with this vault.",
    "free disk space, or make the vault writable; it is tried again every second, and by "
    "`eventapi users erase --finish`",
)
SECRET_KEY_NEW: Final = Message(
    "{path} was missing, and a new key was made: the tokens of {sessions:,} session(s) are refused "
    "from now on, and their users must log in again",
    "Nothing else is lost, and writes go on.",
    "to keep the sessions, stop the server, put {name} back from a backup, and start the server again",
)
SECRET_KEY_OF_ONE_MACHINE: Final = Message(
    "SECRET_KEY was made for this machine alone",
    "Writes go on. Tokens of other machines are refused here, and those of this one there.",
    "set EVENTAPI_SECRET_KEY to the same value on every machine, and restart the servers",
)

# Signing and the clock

SIGNING_NOT_CHECKED: Final = Message(
    "the checkpoint of the log cannot be checked: {reason}",
    "Writes go on, and nothing was lost. Whether the log may be signed is as it was known before.",
    _AGAIN,
)
SIGNING_RESUMED: Final = Message(
    "the log continues its last checkpoint: it is signed again", _FINE, _NOTHING
)
CLOCK_AHEAD_ACCEPTED: Final = Message(
    "the log is {span} ahead of the clock, which an operator accepted",
    "Writes go on: until the clock reaches {last}, every event has that time.",
    _NOTHING,
)
CLOCK_RIGHT: Final = Message(
    "the clock of this machine is accepted again",
    "Writes go on again, and nothing was lost.",
    _NOTHING,
)
CLOCK_NOT_KEPT: Final = Message(
    "the reference of the clock is not kept in {path}: {reason}",
    "Writes go on. A jump of the clock while no server runs may not be noticed.",
    "free disk space, or mend the permissions of {path}",
)
CLOCK_UNREADABLE: Final = Message(
    "{path} is ignored: {reason}",
    "Writes go on. A jump of the clock while no server ran is not noticed.",
    "nothing: it is written again with the next event",
)

# Requests

UNFORESEEN: Final = Message(
    "a request failed because of a fault of eventapi",
    "This request got an answer of 500, and others go on. If it was a write, its event may be in the "
    "log or not.",
    "report the traceback; `eventapi log tail` shows whether the event is there",
)
BATCH_FAILED: Final = Message(
    "a batch of writes failed because of a fault of eventapi",
    "The requests in it got an answer of 503. Nothing that was acknowledged was lost; writes go on.",
    "report the traceback",
)
UNDECIDED: Final = Message(
    "a command could not be decided because of a fault of eventapi",
    "This request got an answer of 500 and wrote nothing; others go on.",
    "report the traceback",
)
STREAM_CUT: Final = Message(
    "a stream was cut off: {reason}",
    "Nothing was lost: the client connects again and goes on where it was cut. Writes go on.",
    "nothing, if it is seldom; else look for a slow client or proxy",
)
EVENTS_UNREAD: Final = Message(
    "new events cannot be read: {reason}",
    "Streams were ended, and clients connect again. Nothing was lost.",
    "nothing, if it stops by itself; else `eventapi log verify`",
)
NOT_CAUGHT_UP: Final = Message(
    "what other processes appended is not known yet: {reason}",
    "Nothing was lost. Reads may be refused here until it succeeds.",
    "nothing, if it stops by itself; else `eventapi log verify`",
)
SESSIONS_NOT_ENDED: Final = Message(
    "expired sessions were not ended: {reason}",
    "Nothing was lost: their tokens are refused all the same.",
    _AGAIN,
)

# Workers, background work, limits and metrics

WORKER_DIED: Final = Message(
    "worker [{pid}] {end}, another takes its place",
    "Nothing that was acknowledged was lost; requests that this worker was answering were cut off. "
    "Writes go on.",
    "read the lines before this one; for a signal 9, look for lack of memory: dmesg",
)
NO_NEW_WORKER: Final = Message(
    "a new worker could not start: {reason}",
    "The old workers go on with the old code and settings. Nothing was lost, and writes go on.",
    "mend what the reason names, and send SIGHUP again",
)

TASK_FAILED: Final = Message(
    "{name} has failed because of a fault of eventapi, and begins anew",
    "Requests go on, and nothing was lost.",
    "report the traceback",
)
START_FAILED: Final = Message(
    "the application could not start because of a fault of eventapi",
    "No server runs. Nothing was lost.",
    "`eventapi log verify`, and report the traceback",
)
REDIS_LOST: Final = Message(
    "Redis is lost, so each machine counts limits alone: {reason}",
    "Requests and writes go on. With several machines, a caller may send more than the limit.",
    "start Redis, or mend the network to it; it is found again by itself",
)
REDIS_BACK: Final = Message("Redis is back, and counts again", _FINE, _NOTHING)
LIMITS_APART: Final = Message(
    "each worker counts rate limits alone: {path}: {reason}",
    "Requests and writes go on. A caller may send more than the limit.",
    "free disk space, or mend the permissions of {path}, and restart the server",
)
NO_METRICS: Final = Message(
    "this worker counts nothing for metrics until it can: {reason}",
    "Requests and writes go on, and nothing was lost. Figures in /metrics are too low.",
    "free disk space, or mend the permissions; counting then begins by itself",
)
METRICS_BEGIN: Final = Message("this worker counts for metrics from now on", _FINE, _NOTHING)
