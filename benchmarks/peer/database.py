"""In-memory storage, rewritten as one JSON file on every change.

The file is `{"users": {name: user}, "items": {owner: [item, ...]}}`. It is written in place and not
synced, so a crash may lose an acknowledged change, as in the replaced service. For the same reason
the cost of a write grows with the data set and not with the change.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peer.config import settings
from benchmarks.peer.models import UserInDB


def now() -> str:
    """The current UTC time as a naive ISO string, the form this service always stored."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat()


class Database:
    """Users by name and item lists by owner, with a single counter for item ids."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users: dict[str, dict[str, Any]] = {}
        self._items: dict[str, list[dict[str, Any]]] = {}
        self._next_item_id = 1

    def load(self) -> None:
        """Read the file if there is one; the id counter continues after the highest id kept."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            return
        data = json.loads(self._path.read_text())
        self._users = data["users"]
        self._items = data["items"]
        ids = (item["id"] for items in self._items.values() for item in items)
        self._next_item_id = max(ids, default=0) + 1

    def _save(self) -> None:
        self._path.write_text(json.dumps({"users": self._users, "items": self._items}))

    def get_user(self, username: str) -> UserInDB | None:
        user = self._users.get(username)
        return UserInDB(**user) if user else None

    def create_user(
        self, username: str, email: str, hashed_password: str, full_name: str | None
    ) -> dict[str, Any]:
        user = {
            "username": username,
            "email": email,
            "hashed_password": hashed_password,
            "full_name": full_name,
            "disabled": False,
            "created_at": now(),
        }
        self._users[username] = user
        self._items[username] = []
        self._save()
        return user

    def get_items(self, owner: str) -> list[dict[str, Any]]:
        return self._items.get(owner, [])

    def get_item(self, owner: str, item_id: int) -> dict[str, Any] | None:
        return next((item for item in self.get_items(owner) if item["id"] == item_id), None)

    def create_item(self, owner: str, title: str, description: str | None) -> dict[str, Any]:
        item = {
            "id": self._next_item_id,
            "title": title,
            "description": description,
            "owner": owner,
            "created_at": now(),
        }
        self._next_item_id += 1
        self._items.setdefault(owner, []).append(item)
        self._save()
        return item

    def update_item(
        self, owner: str, item_id: int, title: str, description: str | None
    ) -> dict[str, Any] | None:
        item = self.get_item(owner, item_id)
        if item is not None:
            item.update(title=title, description=description)
            self._save()
        return item

    def delete_item(self, owner: str, item_id: int) -> bool:
        item = self.get_item(owner, item_id)
        if item is None:
            return False
        self._items[owner].remove(item)
        self._save()
        return True


db = Database(settings.data_dir / "db.json")
