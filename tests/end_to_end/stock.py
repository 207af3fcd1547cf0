"""An application with two kinds for tests of several workers."""

from __future__ import annotations

from msgspec import structs

from eventapi.resources import Clear, Global, Resource, action
from eventapi.resources.declaration import Access


class Ticket(Resource):
    """Its code is unique among all owners; all users read it."""

    access = Access(read="users")
    unique = (Global("code"),)

    code: str
    note: str = ""
    uses: Clear[int] = 0

    @action
    def use(self, *, times: int = 1) -> Ticket:
        """Count uses."""
        return structs.replace(self, uses=self.uses + times)


class Page(Resource):
    """Its name is unique for its owner."""

    unique = ("name",)

    name: str
    text: str = ""
