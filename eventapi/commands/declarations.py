"""Declare a kind in the log: before its first event, and when it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from eventapi.commands.command import Decision
from events.errors import ConfigurationError
from events.vocabulary.compatibility import changed_defaults
from events.vocabulary.resources import ResourceType
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary, contradictions
from projections.state import State
from projections.tables.collections import Collections

ACTOR: Final = "operator/eventapi"


class DeclareKind(msgspec.Struct, frozen=True):
    """Declare what a kind is from now on."""

    resource: ResourceType

    def decide(self, state: State) -> Decision:
        decision = declaration_of(state.resources, self.resource)
        assert decision is not None, "the log has this declaration"  # noqa: S101 - checked before
        return decision


def declaration_of(resources: Collections, resource: ResourceType) -> Decision | None:
    """The declaration that must precede the next event of a kind, if it is missing.

    One that the log has already, even if a later one is in force, is not written again: two versions
    of an application that can read each other's events would do so in turns.
    """
    ours = resource.declaration
    if ours is None:
        return None
    declared = resources.schemas.get(resource.kind, ())
    if any(is_same(one, ours) for one in declared):
        return None
    event = replace(ours, version=len(declared) + 1)
    return Decision(f"schemas/{resource.collection}", event, ACTOR)


def check_readable(resources: Collections, resource: ResourceType) -> bool:
    """Whether this code may write events of a kind; false if newer code did.

    Raises `ConfigurationError` if the declaration contradicts those in the log.
    """
    faults = faults_of(resources, resource)
    if faults:
        raise ConfigurationError(
            f"{resource.entity_name} cannot read the {resource.collection} in the log: "
            f"{'; '.join(faults)}"
        )
    return resources[resource.collection].resource is resource


def faults_of(resources: Collections, resource: ResourceType) -> Sequence[str]:
    """The contradictions between a kind and the log.

    There is none if the log has this declaration, because then the later ones are those of newer
    code.
    """
    ours = resource.declaration
    declared = resources.schemas.get(resource.kind, ())
    place = resources.places.get(resource.kind, resource.collection)
    others = [
        kind
        for kind, collection in resources.places.items()
        if collection == resource.collection and kind != resource.kind
    ]
    if others:
        return contradictions(resource, resources.schemas[others[0]][-1], resource.collection)
    if place == resource.collection and any(ours and is_same(one, ours) for one in declared):
        return ()
    found = (contradictions(resource, one, place) for one in declared)
    faults = next((faults for faults in found if faults), ())
    if faults or ours is None:
        return faults
    return changed_defaults(declared, ours, resource.renamed)


def changed_kinds(
    resources: Collections, vocabulary: Vocabulary
) -> tuple[list[ResourceType], list[ResourceType]]:
    """The kinds to declare anew, and those that newer code changed.

    Raises `ConfigurationError` if a declaration contradicts the one in the log.
    """
    changed, newer = [], []
    for resource in vocabulary.resources:
        if not check_readable(resources, resource):
            newer.append(resource)
        elif resource.kind in resources.schemas and declaration_of(resources, resource):
            changed.append(resource)
    return changed, newer


def is_same(one: SchemaDeclared, other: SchemaDeclared) -> bool:
    """Whether two declarations differ at most in their versions."""
    return replace(one, version=1) == replace(other, version=1)
