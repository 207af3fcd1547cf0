"""A program that uses the Python client of OpenAPI Generator."""

from __future__ import annotations

import sys
from typing import Any

from client import (
    ApiClient,
    ApiException,
    AuthApi,
    Configuration,
    ItemBody,
    ItemPatch,
    ItemsApi,
    PasswordGrant,
    RefreshGrant,
    Registration,
)

PASSWORD = "correct horse battery staple"


def report(call: str, method: Any, *arguments: Any, **more: Any) -> Any:
    try:
        answer = method(*arguments, **more)
    except ApiException as error:
        print(call, error.status)
        return None
    print(call, answer.status_code)
    return answer.data


def main(address: str, name: str) -> None:
    auth = AuthApi(ApiClient(Configuration(host=address)))
    account = Registration(username=name, email=f"{name}@example.org", password=PASSWORD)
    report("register", auth.register_with_http_info, account)
    report("register", auth.register_with_http_info, account)
    grant = PasswordGrant(username=name, password=PASSWORD)
    tokens = report("login", auth.login_with_http_info, grant)
    client = ApiClient(Configuration(host=address, access_token=tokens.access_token))
    auth, items = AuthApi(client), ItemsApi(client)
    item = report("create_item", items.create_item_with_http_info, ItemBody(title="a title"))
    report("create_item", items.create_item_with_http_info, ItemBody.model_construct(title=""))
    assert report("get_item", items.get_item_with_http_info, item.id) == item
    page = report("list_items", items.list_items_with_http_info, limit=10)
    assert page.items == [item]
    assert page.next is None
    patch = ItemPatch(description="text")
    changed = report("update_item", items.update_item_with_http_info, item.id, patch)
    assert changed.description == "text"
    another = ItemBody(title="another")
    report("replace_item", items.replace_item_with_http_info, item.id, another)
    history = report("get_item_history", items.get_item_history_with_http_info, item.id)
    assert len(history) == 3
    report("delete_item", items.delete_item_with_http_info, item.id)
    report("get_item", items.get_item_with_http_info, item.id)
    spent = RefreshGrant(refresh_token=tokens.refresh_token)
    report("refresh", auth.refresh_with_http_info, spent)
    report("get_me", auth.get_me_with_http_info)
    report("logout", auth.logout_with_http_info)
    report("get_me", auth.get_me_with_http_info)


main(*sys.argv[1:])
