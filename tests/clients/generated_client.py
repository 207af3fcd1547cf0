"""A program that uses the generated client of the replaced service.

openapi-python-client generates the client. The program runs as a process with the client on its
path, and prints its observations as JSON.
"""

from __future__ import annotations

import json
import sys
import uuid

from rest_api_client import AuthenticatedClient, Client
from rest_api_client.api.default import (
    create_item_items_post,
    delete_item_items_item_id_delete,
    list_items_items_get,
    login_auth_login_post,
    read_current_user_auth_me_get,
    read_item_items_item_id_get,
    register_auth_register_post,
    update_item_items_item_id_put,
)
from rest_api_client.models import (
    HTTPValidationError,
    ItemCreate,
    LoginAuthLoginPostUserLogin,
    UserCreate,
)


def faults(answer: object) -> list[list[object]]:
    """The places of the faults in a 422."""
    assert isinstance(answer, HTTPValidationError), answer
    return [[fault.loc, isinstance(fault.msg, str)] for fault in answer.detail]


def observe(url: str) -> list[object]:
    """Use a service and return everything that the program observes."""
    client = Client(url, raise_on_unexpected_status=True)
    name = f"u-{uuid.uuid4().hex[:12]}"
    user = UserCreate(name, f"{name}@example.com", "correct horse")
    bad = UserCreate("a", "nobody", "short")
    found: list[object] = [faults(register_auth_register_post.sync(client=client, body=bad))]
    register_auth_register_post.sync(client=client, body=user)
    token = login_auth_login_post.sync(
        client=client, body=LoginAuthLoginPostUserLogin(name, "correct horse")
    )
    found.append(token.token_type)
    client = AuthenticatedClient(url, token.access_token, raise_on_unexpected_status=True)
    found.append(read_current_user_auth_me_get.sync(client=client).username == name)
    found.append(faults(create_item_items_post.sync(client=client, body=ItemCreate("t" * 201))))
    item = create_item_items_post.sync(client=client, body=ItemCreate("First", "one\r\ntwo"))
    body = ItemCreate("Changed", item.description)
    update_item_items_item_id_put.sync(item.id, client=client, body=body)
    found.append([[one.title, one.description] for one in list_items_items_get.sync(client=client)])
    found.append(delete_item_items_item_id_delete.sync_detailed(item.id, client=client).status_code)
    gone = Client(url, headers={"Authorization": f"Bearer {token.access_token}"})
    found.append(read_item_items_item_id_get.sync_detailed(item.id, client=gone).status_code)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(observe(sys.argv[1])))
