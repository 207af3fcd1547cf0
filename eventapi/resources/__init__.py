"""Declare your own resources: a class with fields, and the server does the rest.

>>> class Note(Resource):
...     text: str
"""

from eventapi.resources.declaration import Access, Clear, Global, Resource, action
from events.errors import ActionRefused as Refused

__all__ = ["Access", "Clear", "Global", "Refused", "Resource", "action"]
