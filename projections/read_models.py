"""Read models: what an application folds from the public part of a log.

They are the only code of an application that a replay runs. So an exception stops one read model
and nothing else, and a staged state has none. They see no personal value, so an erasure changes
none of them, and their part of a snapshot is not sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from events.errors import ProjectionFailed, ProjectionNotReady
from events.record import Record
from events.vocabulary.resources import Created, ResourceType, Restored, Updated
from events.vocabulary.vocabulary import Vocabulary


class PublicEvent(msgspec.Struct, frozen=True):
    """What anyone can read of an event without a key; no erasure changes it.

    ``owner`` is the number of the user who owns the resource, or ``None`` for other subjects.
    ``actor`` is who caused the event, such as ``users/3``. ``time`` is RFC 3339 in UTC. ``clear``
    has the `Clear` fields that the event set, as JSON values under their names in the declaration.
    """

    type: str
    subject: str
    owner: int | None
    actor: str
    time: str
    position: int
    clear: Mapping[str, Any]


class Fold(Protocol):
    """One fold of a read model. ``state`` is a Struct."""

    state: Any

    def apply(self, event: PublicEvent, /) -> Any:
        """Change the state in place, or return a new one. May raise any exception."""
        ...


class ReadModel(msgspec.Struct, frozen=True, eq=False):
    """A read model as an application declares it.

    ``new`` starts a fold, ``state`` is the type of its state, and ``fingerprint`` changes with its
    code.
    """

    name: str
    new: Callable[[], Fold]
    state: type[msgspec.Struct]
    fingerprint: str


class ApplicationVocabulary(Vocabulary):
    """The vocabulary of an application's log, with the read models that fold the log.

    `State.empty` makes a state with these read models. Copies in other processes have none.
    """

    def __init__(
        self, resources: Iterable[ResourceType] = (), read_models: Iterable[ReadModel] = ()
    ) -> None:
        super().__init__(resources)
        self.read_models = tuple(read_models)

    def _with(self, resources: Iterable[ResourceType]) -> Vocabulary:
        return ApplicationVocabulary(resources, self.read_models)


class Failure(msgspec.Struct, frozen=True, eq=False):
    """The exception that stopped a read model, and the position of the event."""

    position: int
    error: BaseException

    def __str__(self) -> str:
        try:
            text = str(self.error)
        except Exception:  # The text is from the application, too.
            text = "its text cannot be shown"
        return f"{type(self.error).__name__}: {text}"


class Saved(msgspec.Struct, array_like=True, frozen=True):
    """The part of a snapshot that is about one read model."""

    fingerprint: str
    state: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode
_encode_in_order = msgspec.msgpack.Encoder(order="deterministic").encode


class ReadModels:
    """The read models of one state.

    Each is in one of three conditions: ``current`` is at the position of the state, a failed one is
    in ``failures``, and any other one is behind and must be folded anew.
    """

    def __init__(self, models: Iterable[ReadModel] = ()) -> None:
        self.models = {model.name: model for model in models}
        self.current = {model.name: model.new() for model in self.models.values()}
        self.failures: dict[str, Failure] = {}

    def __getitem__(self, name: str) -> Any:
        """The fold of a read model; do not change it.

        Raises `KeyError`, `ProjectionFailed` and `ProjectionNotReady`.
        """
        fold = self.current.get(name)
        if fold is not None:
            return fold
        if name not in self.models:
            raise KeyError(name)
        failure = self.failures.get(name)
        if failure is None:
            raise ProjectionNotReady(f"the projection {name!r} is being computed anew")
        raise ProjectionFailed(
            f"the projection {name!r} failed at position {failure.position}"
        ) from failure.error

    @property
    def behind(self) -> list[ReadModel]:
        """The read models that must be folded anew."""
        return [
            model
            for name, model in self.models.items()
            if name not in self.current and name not in self.failures
        ]

    def apply(self, record: Record, owner: int | None) -> None:
        """Apply a record to all current ones; never raises. ``owner`` as in `PublicEvent`."""
        failed: dict[str, Failure] = {}
        for name, fold in self.current.items():
            try:
                # An event for each, because code of an application could change the clear values.
                new = fold.apply(public_event(record, owner))
                if new is not None:
                    fold.state = new
                if not isinstance(fold.state, self.models[name].state):
                    raise TypeError(f"apply made a state of type {type(fold.state).__name__}")
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # An application may also call `sys.exit`.
                failed[name] = Failure(record.position, error)
        for name, failure in failed.items():
            self._fail(name, failure)

    def _fail(self, name: str, failure: Failure) -> None:
        del self.current[name]
        self.failures[name] = failure

    def adopt(self, other: ReadModels) -> None:
        """Take over read models that were folded anew to the position of this state."""
        self.current.update(other.current)
        self.failures.update(other.failures)

    def export(self) -> dict[str, Saved]:
        """The states, for a snapshot; without those that MessagePack cannot encode."""
        saved = {}
        for name, fold in self.current.items():
            state = _encoded(fold.state, _encode)
            if state is not None:
                saved[name] = Saved(self.models[name].fingerprint, msgspec.Raw(state))
        return saved

    def load(self, saved: Mapping[str, Saved]) -> None:
        """Replace the states by those of a snapshot.

        A read model is behind if the snapshot does not have it, or has it of other code.
        """
        for name, model in self.models.items():
            found = saved.get(name)
            state = None
            if found is not None and found.fingerprint == model.fingerprint:
                state = _decoded(found.state, model.state)
            if state is None:
                self.current.pop(name, None)
            else:
                self.current[name].state = state

    def checksum(self) -> str:
        """The SHA-256 of all states, to compare a live state with a rebuilt one."""
        digest = sha256()
        for name in sorted(self.models):
            fold, failure = self.current.get(name), self.failures.get(name)
            content: object = failure and (failure.position, type(failure.error).__name__)
            if fold is not None:
                content = _encoded(fold.state, _encode_in_order)
            digest.update(_encode_in_order((name, fold is None, content)))
        return digest.hexdigest()


NO_READ_MODELS = ReadModels()


def public_event(record: Record, owner: int | None) -> PublicEvent:
    """The public part of a record."""
    event = record.event
    values = event.clear if isinstance(event, Created | Updated | Restored) else None
    clear = {} if values is None else msgspec.to_builtins(values)
    return PublicEvent(
        event.type, record.subject, owner, record.actor, record.time, record.position, clear
    )


def _encoded(state: object, encode: Callable[[object], bytes]) -> bytes | None:
    """A state as MessagePack; ``None`` if it has values that cannot be encoded."""
    try:
        return encode(state)
    except Exception:
        return None


def _decoded(state: msgspec.Raw, kind: type[msgspec.Struct]) -> msgspec.Struct | None:
    """A state from MessagePack; ``None`` if it is not of its type."""
    try:
        return msgspec.msgpack.decode(state, type=kind)
    except Exception:
        return None
