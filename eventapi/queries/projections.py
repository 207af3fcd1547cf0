"""Answer queries of projections, now or as of an earlier position."""

from __future__ import annotations

from typing import Any

import msgspec

from eventapi.queries.history import History
from eventapi.resources.declared_projections import DeclaredProjection
from eventapi.resources.projection import Caller
from projections.state import State


async def query_projection(
    projection: DeclaredProjection,
    caller: Caller,
    parameters: msgspec.Struct,
    state: State,
    *,
    history: History,
    position: int | None = None,
) -> Any:
    """What a projection answers now, or as of a position up to that of the state.

    Raises `ProjectionFailed` if it failed up to there, `ProjectionNotReady`, and as
    `DeclaredProjection.answer` and `History.state_at` do.
    """
    failure = state.read_models.failures.get(projection.name)
    if position is None or position == state.position or (failure and failure.position <= position):
        return projection.answer(state.read_models, caller, parameters)
    async with history.state_at(position, caller.id, read_models=True) as then:
        return projection.answer(then.read_models, caller, parameters)
