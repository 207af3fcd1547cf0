"""Declare your own resources: a class with fields, and the server does the rest.

>>> class Note(Resource):
...     text: str
"""

from eventapi.resources.declaration import Access, Clear, Global, Resource, action
from eventapi.resources.projection import Caller, Projection, PublicEvent
from events.errors import ActionRefused as Refused

__all__ = [
    "Access",
    "Caller",
    "Clear",
    "Global",
    "Projection",
    "PublicEvent",
    "Refused",
    "Resource",
    "action",
]
