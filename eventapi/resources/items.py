"""The built-in resource, declared as an application declares its own."""

from eventapi.resources.declaration import Resource
from eventapi.values.rules import Description, Title


class Item(Resource):
    """A title with a description."""

    title: Title
    description: Description | None = None
