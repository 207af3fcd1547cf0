"""A program that uses the client of openapi-python-client."""

from __future__ import annotations

import sys
from typing import Any

from client import AuthenticatedClient, Client
from client.api.auth import get_me, login, logout, refresh, register
from client.api.items import (
    create_item,
    delete_item,
    get_item,
    get_item_history,
    list_items,
    replace_item,
    update_item,
)
from client.models import ItemBody, ItemPatch, PasswordGrant, RefreshGrant, Registration

PASSWORD = "correct horse battery staple"


def report(call: str, answer: Any) -> Any:
    print(call, answer.status_code.value)
    return answer.parsed


def main(address: str, name: str) -> None:
    open_client = Client(base_url=address)
    account = Registration(username=name, email=f"{name}@example.org", password=PASSWORD)
    report("register", register.sync_detailed(client=open_client, body=account))
    taken = report("register", register.sync_detailed(client=open_client, body=account))
    assert taken.type_ == "/problems/username-taken"
    grant = PasswordGrant(username=name, password=PASSWORD)
    tokens = report("login", login.sync_detailed(client=open_client, body=grant))
    client = AuthenticatedClient(base_url=address, token=tokens.access_token)
    body = ItemBody(title="a title")
    item = report("create_item", create_item.sync_detailed(client=client, body=body))
    report("create_item", create_item.sync_detailed(client=client, body=ItemBody(title="")))
    read = report("get_item", get_item.sync_detailed(item.id, client=client))
    assert read == item
    page = report("list_items", list_items.sync_detailed(client=client, limit=10))
    assert page.items == [item]
    assert page.next_ is None
    patch = ItemPatch(description="text")
    changed = report("update_item", update_item.sync_detailed(item.id, client=client, body=patch))
    assert changed.description == "text"
    another = ItemBody(title="another")
    report("replace_item", replace_item.sync_detailed(item.id, client=client, body=another))
    history = report("get_item_history", get_item_history.sync_detailed(item.id, client=client))
    assert len(history) == 3
    report("delete_item", delete_item.sync_detailed(item.id, client=client))
    report("get_item", get_item.sync_detailed(item.id, client=client))
    spent = RefreshGrant(refresh_token=tokens.refresh_token)
    report("refresh", refresh.sync_detailed(client=client, body=spent))
    report("get_me", get_me.sync_detailed(client=client))
    report("logout", logout.sync_detailed(client=client))
    report("get_me", get_me.sync_detailed(client=client))


main(*sys.argv[1:])
