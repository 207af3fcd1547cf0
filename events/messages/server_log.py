"""Warnings and errors that the server and the command line write to their log."""

from __future__ import annotations

from typing import Final

from events.messages.message import Message

_FINE: Final = "Nothing was lost, and writes continue."
_NOTHING: Final = "nothing"
_RETRIED: Final = "nothing: it is retried automatically; report it if it lasts"

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
    "the last {bytes:,} bytes of the log are not whole events: they were cut off and saved in {path}",
    "Nothing that was acknowledged was lost: a process died, or the power failed, while they were "
    "being written. Writes continue.",
    "nothing; to be sure, `eventapi log verify`",
)
TAIL_PASSED_OVER: Final = Message(
    "the last {bytes:,} bytes of {path} are not whole events, and are ignored",
    "Nothing was changed. All events before them are shown.",
    "`eventapi log verify`; if it is a copy, make it again: `eventapi log copy TO`",
)
SEGMENT_NOT_CLOSED: Final = Message(
    "no segment of the log {path} was closed: {reason}",
    "Nothing was changed or lost, and writes continue. The open file of the log grows.",
    "free space if the disk is full (df -h {path}), or `eventapi log verify`; it is retried automatically",
)
MARK_NOT_SYNCED: Final = Message(
    "the mark was not synced: {reason}",
    "Nothing was lost. After a power cut the next start checks more of the log, and takes longer.",
    "check the kernel log for disk errors (dmesg), and verify the log: `eventapi log verify`",
)
LOCK_NOT_RELEASED: Final = Message(
    "a lock of the log was not released: {reason}",
    "Nothing was lost. Other processes may be refused writes until this one ends.",
    "restart the server if writes are refused",
)
RESERVE_RELEASED: Final = Message(
    "the disk of {path} is full: its reserve was released for logouts, new passwords, disabling and erasure",
    "Other writes are refused. Reads continue, and nothing was lost.",
    "free more than {bytes:,} bytes (df -h {path}); writes then resume automatically",
)
NO_RESERVE: Final = Message(
    "the reserve of disk space cannot be created in {path}: {reason}",
    "Nothing was lost, and writes continue. Once the disk is full, no session can be ended and no user "
    "erased.",
    "fix the permissions of {path}, and restart the server",
)

# The log in a database

COMMIT_ANSWER_LOST: Final = Message(
    "a commit succeeded although its reply was lost: {reason}",
    _FINE,
    "nothing, if it happens once; otherwise check the network to the database",
)
DATABASE_AWAITED: Final = Message(
    "waiting for the database {address}, up to {seconds} s more: {reason}",
    "The server does not answer yet. Nothing was lost.",
    "start the database, or fix EVENTAPI_LOG or the network to it; the start then continues",
)
DATABASE_LOST: Final = Message(
    "the connection to the database of the log is lost: {reason}",
    "Writes are refused until it answers. Reads show the state before that, and nothing was lost.",
    "start the database, or fix the network to it; writes then resume automatically",
)
DATABASE_BACK: Final = Message(
    "reconnected to the database of the log",
    "Writes are accepted again, and nothing was lost.",
    _NOTHING,
)
NOT_FOLLOWED: Final = Message(
    "the task that follows the log in the database failed because of a bug in eventapi",
    "Writes and fresh reads are refused until it works again. Nothing was lost.",
    "restart the server if it lasts, and report the traceback",
)
NOT_VACUUMED: Final = Message(
    "destroyed keys are not vacuumed yet: {reason}",
    "Writes continue. Pages of the database may contain bytes of a destroyed key for a while.",
    "nothing, unless it lasts: then type in the database: VACUUM eventapi_keys",
)
SYNC_BINLOG: Final = Message(
    "the database runs with sync_binlog != 1: a replica may lack events",
    "Writes continue. After a crash of the database, a replica that takes its place may lack "
    "acknowledged events.",
    "set sync_binlog = 1 in the configuration of the database",
)

# Snapshots and projections

NEWER_KIND: Final = Message(
    "a newer version of this application has changed the kind {kind!r}",
    "Requests for {collection} are refused. All others are answered, and writes continue.",
    "restart this server with the newer version of the application",
)
PROJECTION_STOPPED: Final = Message(
    "the projection {name!r} failed at position {position:,}: {reason}",
    "Only requests for this projection are refused. Nothing was lost, and writes continue.",
    "correct `apply` of the projection, with the traceback, and restart the server",
)
PROJECTION_WAITS: Final = Message(
    "projections cannot be computed anew yet: {reason}",
    "Requests for them are refused until then. Nothing was lost.",
    "nothing, unless it lasts: then `eventapi log verify`",
)
SNAPSHOT_OF_OTHER_LOG: Final = Message(
    "the snapshot at {position:,} is ignored: it belongs to another log",
    "Nothing was lost. This start replays the whole log and takes longer.",
    "nothing; for fast starts again, `eventapi snapshot`",
)
CHAIN_BROKEN: Final = Message(
    "{reason}. It was found after the start, which used the snapshot at {position:,}",
    "Writes have stopped, and this process ends with code 65. Its snapshots are removed, so that no "
    "server starts on this log. Nothing else was changed; the events of this run are in the log.",
    "`eventapi log verify` lists all damage; then see Restore in docs/operating.md",
)
CHAIN_NOT_CHECKED: Final = Message(
    "the hash chain of the log cannot be checked yet: {reason}",
    "Requests and writes continue. Nothing is signed or proved until it is checked.",
    _RETRIED,
)
SNAPSHOTS_NOT_REMOVED: Final = Message(
    "the snapshots of a damaged log cannot be removed: {reason}",
    "Writes have stopped. A server that starts from one of them finds the damage only after a while.",
    "rm -r {directory}, and do not start a server before the log is restored",
)
SNAPSHOTS_UNREADABLE: Final = Message(
    "the snapshots are ignored: {reason}",
    "Nothing was lost. This start replays the whole log and takes longer.",
    "fix the permissions of the directory snapshots, then `eventapi snapshot`",
)
SNAPSHOT_PASSED_OVER: Final = Message(
    "the snapshot {name} is ignored: {reason}",
    "Nothing was lost. This start replays more of the log and takes longer.",
    "nothing after an upgrade; otherwise `eventapi rebuild`, which compares and removes wrong ones",
)
SNAPSHOT_REMOVED: Final = Message(
    "the snapshot {name} was damaged and has been removed",
    "Nothing was lost, and writes continue: more events are replayed from the log instead.",
    "nothing; for fast starts again, `eventapi snapshot`",
)
SNAPSHOT_NOT_REMOVED: Final = Message(
    "the snapshot {name} is damaged and cannot be removed: {reason}",
    "Nothing was lost, and writes continue: more events are replayed from the log instead.",
    "fix the permissions of the directory snapshots, then `eventapi rebuild`",
)
NO_SNAPSHOT: Final = Message(
    "no snapshot was taken: {reason}",
    "Nothing was lost, and writes continue. The next start takes longer.",
    "`eventapi snapshot` shows whether it works now",
)
SNAPSHOT_PROCESS_FAILED: Final = Message(
    "the process that takes snapshots ended with code {code}",
    "Nothing was lost, and writes continue. The next start takes longer.",
    "read the lines before this one, then `eventapi snapshot`",
)

# Erasure and keys

ERASED_AGAIN: Final = Message(
    "{who} erased after this log was copied; the erasure was appended again: {names}",
    "The users stay erased, and writes continue.",
    _NOTHING,
)
KEYS_NOT_DESTROYED: Final = Message(
    "keys of erased users are not destroyed yet: {reason}",
    "Writes continue, and the users are erased. Until the keys are destroyed, older copies of the log "
    "can still be read with this vault.",
    "free disk space, or make the vault writable; it is retried every second, and by "
    "`eventapi users erase --finish`",
)
SECRET_KEY_NEW: Final = Message(
    "{path} was missing, and a new key was made: the tokens of {sessions:,} session(s) are refused "
    "from now on, and their users must log in again",
    "Nothing else is lost, and writes continue.",
    "to keep the sessions, stop the server, put {name} back from a backup, and start the server again",
)
SECRET_KEY_OF_ONE_MACHINE: Final = Message(
    "SECRET_KEY was made for this machine only",
    "Writes continue. Tokens of other machines are refused here, and tokens of this one there.",
    "set EVENTAPI_SECRET_KEY to the same value on every machine, and restart the servers",
)

# Signing and the clock

SIGNING_NOT_CHECKED: Final = Message(
    "the checkpoint of the log cannot be checked: {reason}",
    "Writes continue, and nothing was lost. The last known result of that check still applies.",
    _RETRIED,
)
SIGNING_RESUMED: Final = Message(
    "the log continues its last checkpoint: it is signed again", _FINE, _NOTHING
)
CLOCK_AHEAD_ACCEPTED: Final = Message(
    "the log is {span} ahead of the clock, which an operator accepted",
    "Writes continue: until the clock reaches {last}, every event has that time.",
    _NOTHING,
)
CLOCK_RIGHT: Final = Message(
    "the clock of this machine is accepted again",
    "Writes are accepted again, and nothing was lost.",
    _NOTHING,
)
CLOCK_NOT_KEPT: Final = Message(
    "the reference of the clock cannot be stored in {path}: {reason}",
    "Writes continue. A jump of the clock while no server runs may not be noticed.",
    "free disk space, or fix the permissions of {path}",
)
CLOCK_UNREADABLE: Final = Message(
    "{path} is ignored: {reason}",
    "Writes continue. A jump of the clock while no server ran is not noticed.",
    "nothing: it is written again with the next event",
)

# Requests

UNFORESEEN: Final = Message(
    "a request failed because of a bug in eventapi",
    "This request was answered with 500; others continue. If it was a write, its event may or may not "
    "be in the log.",
    "report the traceback; `eventapi log tail` shows whether the event is there",
)
BATCH_FAILED: Final = Message(
    "a batch of writes failed because of a bug in eventapi",
    "Its requests were answered with 503. Nothing that was acknowledged was lost; writes continue.",
    "report the traceback",
)
UNDECIDED: Final = Message(
    "a command could not be decided because of a bug in eventapi",
    "This request was answered with 500 and wrote nothing; others continue.",
    "report the traceback",
)
STREAM_CUT: Final = Message(
    "a stream was cut off: {reason}",
    "Nothing was lost: the client reconnects and resumes where the stream was cut. Writes continue.",
    "nothing, if it is rare; otherwise look for a slow client or proxy",
)
EVENTS_UNREAD: Final = Message(
    "new events cannot be read: {reason}",
    "Streams were ended, and clients reconnect. Nothing was lost.",
    "nothing, unless it lasts: then `eventapi log verify`",
)
NOT_CAUGHT_UP: Final = Message(
    "events that other processes appended cannot be read yet: {reason}",
    "Nothing was lost. Reads may be refused here until it succeeds.",
    "nothing, unless it lasts: then `eventapi log verify`",
)
SESSIONS_NOT_ENDED: Final = Message(
    "expired sessions were not ended: {reason}",
    "Nothing was lost: their tokens are refused anyway.",
    _RETRIED,
)

# Followers

FOLLOWER_FAILED: Final = Message(
    "the follower {name} could not handle the event at position {position:,}: {reason}",
    "Requests and writes continue. Later events wait for this one, and nothing was lost.",
    "fix the cause that is named; it is retried automatically, after pauses that become longer",
)
FOLLOWER_RECOVERED: Final = Message("the follower {name} works again", _FINE, _NOTHING)
FOLLOWER_WAITS: Final = Message(
    "the follower {name} waits: {reason}",
    "Requests and writes continue, and nothing was lost. It is retried automatically.",
    "{advice}",
)
FOLLOWER_BEGINS_AGAIN: Final = Message(
    "the log is not the one in which the follower {name} had reached position {position:,}",
    "Requests and writes continue. The follower begins again, so it may repeat deliveries.",
    "nothing, if an older log was restored",
)
PARKED_FAILED: Final = Message(
    "the follower {name} could not retry the event at position {position:,}: {reason}",
    "Requests and writes continue. Nothing waits for this event, and nothing was lost.",
    _RETRIED,
)
PARKED_GIVEN_UP: Final = Message(
    "the follower {name} gives the event at position {position:,} up: too many others are delayed",
    "Requests and writes continue. If it is about a mail, the user does not get it.",
    "find out why so many mails are delayed; the user can request another mail",
)
WEBHOOK_DISABLED: Final = Message(
    "{webhook} was disabled: {reason}",
    "Requests and writes continue. Events are not delivered to it; none is skipped once it is enabled.",
    "`gone`: the receiver answered 410; `failing`: it failed for 5 days; mend the receiver, and enable "
    "webhook: `PATCH /api/v2/webhooks/N` with `disabled` false",
)

# Witnesses

WITNESS_FAILED: Final = Message(
    "the witness {name} has not cosigned the checkpoint of the log: {reason}",
    "Requests, writes and checkpoints continue, and nothing was lost.",
    "fix the cause that is named; it is retried automatically, after pauses that become longer",
)
WITNESS_RECOVERED: Final = Message("the witness {name} cosigns again", _FINE, _NOTHING)
WITNESS_CONTRADICTS: Final = Message(
    "the witness {name} contradicts this log: {reason}",
    "Writes and checkpoints continue. If the witness is right, events that were signed are missing "
    "here or were changed, or another copy of the log signs with the same key.",
    "was the log restored, or a copy of it started? Then see Restore in docs/operating.md. Otherwise "
    "compare with the other witnesses, and ask the operator of this one",
)
COSIGNATURES_WAIT: Final = Message(
    "the witnesses wait: {reason}",
    "Requests and writes continue, and nothing was lost. The newest cosigned checkpoint grows older.",
    _RETRIED,
)

# Failed logins

FAILED_LOGINS_NOT_STORED: Final = Message(
    "failed logins are counted in memory only: {reason}",
    "Requests and writes continue. If this process ends, or too many names and addresses wait, their "
    "counts are missing in the log.",
    _RETRIED,
)
FAILED_LOGINS_NOT_RECORDED: Final = Message(
    "failed logins are not written to the log yet: {reason}",
    "Requests continue, and the counts are stored.",
    _RETRIED,
)

# Workers, background work, limits and metrics

WORKER_DIED: Final = Message(
    "worker [{pid}] {end}, another takes its place",
    "Nothing that was acknowledged was lost; requests that this worker was answering were cut off. "
    "Writes continue.",
    "read the lines before this one; after signal 9, check whether memory ran out: dmesg",
)
NO_NEW_WORKER: Final = Message(
    "a new worker could not start: {reason}",
    "The old workers continue with the old code and settings. Nothing was lost, and writes continue.",
    "fix the cause that is named, and send SIGHUP again",
)

TASK_FAILED: Final = Message(
    "{name} failed because of a bug in eventapi, and is restarted",
    "Requests continue, and nothing was lost.",
    "report the traceback",
)
START_FAILED: Final = Message(
    "the application could not start because of a bug in eventapi",
    "No server runs. Nothing was lost.",
    "`eventapi log verify`, and report the traceback",
)
REDIS_LOST: Final = Message(
    "Redis cannot be reached, so each machine counts rate limits on its own: {reason}",
    "Requests and writes continue. With several machines, a caller may send more than the limit.",
    "start Redis, or fix the network to it; the servers reconnect automatically",
)
REDIS_BACK: Final = Message("reconnected to Redis, which counts rate limits again", _FINE, _NOTHING)
LIMITS_APART: Final = Message(
    "each worker counts rate limits on its own: {path}: {reason}",
    "Requests and writes continue. A caller may send more than the limit.",
    "free disk space, or fix the permissions of {path}, and restart the server",
)
NO_METRICS: Final = Message(
    "this worker cannot count for the metrics yet: {reason}",
    "Requests and writes continue, and nothing was lost. Figures in /metrics are too low.",
    "free disk space, or fix the permissions; counting then begins automatically",
)
METRICS_BEGIN: Final = Message("this worker counts for metrics from now on", _FINE, _NOTHING)
