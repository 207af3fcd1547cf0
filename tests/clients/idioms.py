"""Idioms of programs that were written for the replaced service.

An idiom takes a base URL and returns the program's observations without values that always differ.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import requests

from tests.clients.services import ITEMS, OLD_ORIGINS, PASSWORD

MANY = 130


def registration(**more: Any) -> dict[str, Any]:
    """A body that registers a new account."""
    name = f"u-{uuid.uuid4().hex[:12]}"
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **more}


def log_in(url: str) -> requests.Session:
    """A session of the library requests with the token of a new account."""
    user = registration()
    session = requests.Session()
    session.post(f"{url}/auth/register", json=user).raise_for_status()
    credentials = {"username": user["username"], "password": user["password"]}
    token = session.post(f"{url}/auth/login", json=credentials).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def lists_all_items(url: str) -> Sequence[str]:
    """Expect `GET /items` to return all items in the order of their creation."""
    with log_in(url) as session:
        for number in range(MANY):
            session.post(f"{url}/items", json={"title": f"Item {number}"}).raise_for_status()
        return [item["title"] for item in session.get(f"{url}/items").json()]


def puts_back_what_it_read(url: str) -> Mapping[str, Any]:
    """Read an item, change its title, and send the whole object."""
    with log_in(url) as session:
        created = session.post(f"{url}/items", json={"title": "a", "description": "b"}).json()
        item = session.get(f"{url}/items/{created['id']}").json()
        item["title"] = "changed"
        answer = session.put(f"{url}/items/{item['id']}", json=item)
        answer.raise_for_status()
        return {"same": answer.json() == item, "members": sorted(answer.json())}


def sends_unknown_members(url: str) -> Sequence[int]:
    """Send additional members of the program's own forms."""
    user = registration(confirm_password=PASSWORD, accept_terms=True)
    credentials = {name: user[name] for name in ("username", "password")}
    with httpx.Client(base_url=url) as client:
        registered = client.post("/auth/register", json=user)
        login = client.post("/auth/login", json={**credentials, "remember": True})
        client.headers["Authorization"] = f"Bearer {login.json().get('access_token')}"
        item = client.post("/items", json={"title": "a", "tags": ["x"], "done": False})
        return [registered.status_code, login.status_code, item.status_code]


def shows_each_fault(url: str) -> Sequence[tuple[str, bool]]:
    """Show a message beside each invalid field of a form."""
    bad = {"username": "a", "email": "nobody", "password": "short"}
    detail = requests.post(f"{url}/auth/register", json=bad).json()["detail"]
    return [(fault["loc"][-1], isinstance(fault["msg"], str)) for fault in detail]


def shows_that_a_name_is_taken(url: str) -> str:
    """Treat a 400 of a registration as a taken name."""
    user = registration()
    with httpx.Client(base_url=url) as client:
        client.post("/auth/register", json=user).raise_for_status()
        again = client.post("/auth/register", json=user)
        if again.status_code == 400:
            return f"Sorry: {again.json()['detail']}"
        again.raise_for_status()
        return "done"


def shows_why_it_failed(url: str) -> Sequence[Any]:
    """Show `detail` of every failure."""
    wrong = requests.post(f"{url}/auth/login", json={"username": "ann", "password": "wrong"})
    with log_in(url) as session:
        bare = requests.get(f"{url}/items")
        bad = requests.get(f"{url}/items", headers={"Authorization": "Bearer x"})
        failed = [wrong, bare, bad, session.get(f"{url}/items/999999")]
        failed += [session.get(f"{url}/items/1/nothing"), session.delete(f"{url}/items")]
        return [
            (one.status_code, one.headers["content-type"], one.json()["detail"]) for one in failed
        ]


def reads_times_with_strptime(url: str) -> Sequence[str | None]:
    """Parse `created_at` with the format that it always had."""
    with log_in(url) as session:
        item = session.post(f"{url}/items", json={"title": "a"}).json()
        me = session.get(f"{url}/auth/me").json()
    times = [datetime.strptime(one["created_at"], "%Y-%m-%dT%H:%M:%S.%f") for one in (item, me)]
    return [time.tzname() for time in times]


_PYTHON_39 = re.compile(
    r"\d{4}-\d\d-\d\d(.\d\d(:\d\d(:\d\d(\.\d{3}(\d{3})?)?)?)?([+-]\d\d:\d\d(:\d\d(\.\d{6})?)?)?)?"
)
"""The times that `datetime.fromisoformat` accepts in Python 3.9: those that `isoformat` writes."""


def reads_times_with_python_3_9(url: str) -> bool:
    """Compare `created_at` with `utcnow()`."""
    with log_in(url) as session:
        text = session.post(f"{url}/items", json={"title": "a"}).json()["created_at"]
    if not _PYTHON_39.fullmatch(text):
        raise ValueError(f"Invalid isoformat string: {text!r}")
    now = datetime.now(UTC).replace(tzinfo=None)
    return abs((now - datetime.fromisoformat(text)).total_seconds()) < 3_600


def logs_in_with_form_data(url: str) -> Sequence[str]:
    """Log in with multipart, as `FormData` of a browser and `curl -F` do."""
    fields = {"username": (None, "ann"), "password": (None, PASSWORD)}
    answers = [
        requests.post(f"{url}/auth/login", files=fields).json(),
        httpx.post(f"{url}/auth/login", files=fields).json(),
    ]
    return [answer["token_type"] for answer in answers]


def logs_in_with_a_form(url: str) -> Sequence[str]:
    """Log in with the OAuth2 form, with and without FastAPI's optional fields."""
    form = {"username": "ann", "password": PASSWORD}
    more = {"grant_type": "password", "scope": "", "client_id": "", "client_secret": ""}
    answers = [httpx.post(f"{url}/auth/login", data=data).json() for data in (form, form | more)]
    return [answer["token_type"] for answer in answers]


def posts_json_without_a_content_type(url: str) -> Sequence[int]:
    """Pass a text as data to the library requests, which then sends no Content-Type."""
    login = requests.post(
        f"{url}/auth/login", data=json.dumps({"username": "ann", "password": PASSWORD})
    )
    headers = {"Authorization": f"Bearer {login.json().get('access_token')}"}
    item = requests.post(f"{url}/items", data=json.dumps({"title": "a"}), headers=headers)
    return [login.status_code, item.status_code]


def keeps_line_ends(url: str) -> Mapping[str, Any]:
    """Store the text of a text area, whose line ends are CR LF."""
    typed = "one\r\ntwo\r\n\r\n\tthree\n"
    with log_in(url) as session:
        item = session.post(f"{url}/items", json={"title": "a", "description": typed}).json()
        read: Mapping[str, Any] = session.get(f"{url}/items/{item['id']}").json()
        return {"kept": read["description"] == typed}


def finds_its_old_data(url: str) -> Mapping[str, Any]:
    """Log in with an old password and find the data as it was before the migration."""
    credentials = {"username": "fay", "password": PASSWORD}
    token = requests.post(f"{url}/auth/login", json=credentials).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    items = requests.get(f"{url}/items", headers=headers).json()
    return {"items": items, "same": items == ITEMS["fay"]}


def sends_requests_from_a_page(url: str) -> Sequence[bool]:
    """Send the requests of a page with cookies and its own headers (Fetch, 4.8)."""
    wanted = ["authorization", "content-type", "last-event-id", "traceparent", "x-requested-with"]
    asked = {
        "Origin": OLD_ORIGINS[0],
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": ",".join(wanted),
    }
    preflight = httpx.options(f"{url}/items/1", headers=asked)
    allowed = preflight.headers.get("access-control-allow-headers", "").lower().split(",")
    methods = preflight.headers.get("access-control-allow-methods", "").split(",")
    answer = httpx.get(f"{url}/items", headers={"Origin": OLD_ORIGINS[0]})
    return [
        preflight.is_success,
        set(wanted) <= {name.strip() for name in allowed},
        "PUT" in {name.strip() for name in methods},
        *(
            one.headers.get("access-control-allow-origin") == OLD_ORIGINS[0]
            for one in (preflight, answer)
        ),
        *(
            one.headers.get("access-control-allow-credentials") == "true"
            for one in (preflight, answer)
        ),
    ]


@dataclass
class Item:
    """An item as a program declares it, which accepts no other members."""

    id: int
    title: str
    description: str | None
    owner: str
    created_at: str


def makes_objects_of_answers(url: str) -> Sequence[Mapping[str, Any]]:
    """Pass the members of an answer to a class."""
    with log_in(url) as session:
        session.post(f"{url}/items", json={"title": "a"}).raise_for_status()
        items = [Item(**item) for item in session.get(f"{url}/items").json()]
    return [asdict(item) | {"id": 0, "owner": "", "created_at": ""} for item in items]


def reads_its_token(url: str) -> Mapping[str, Any]:
    """Read the name and the expiry from a token."""
    form = {"username": "ann", "password": PASSWORD}
    token = httpx.post(f"{url}/auth/login", data=form).json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    return {"lasts": claims["exp"] - claims["iat"], "sub": claims["sub"], "type": claims["type"]}


def deletes_and_checks(url: str) -> Sequence[Any]:
    """Delete an item and check that it is gone."""
    with log_in(url) as session:
        item = session.post(f"{url}/items", json={"title": "a"}).json()
        place = f"{url}/items/{item['id']}"
        gone = session.delete(place)
        return [
            gone.status_code,
            gone.content,
            session.get(place).status_code,
            session.delete(place).status_code,
        ]


def follows_a_slash(url: str) -> Sequence[Any]:
    """Follow the redirect from a trailing slash without losing the body."""
    with log_in(url) as session:
        created = session.post(f"{url}/items/", json={"title": "a"})
        listed = session.get(f"{url}/items/")
        return [created.json()["title"], [item["title"] for item in listed.json()]]


IDIOMS = (
    lists_all_items,
    puts_back_what_it_read,
    sends_unknown_members,
    shows_each_fault,
    shows_that_a_name_is_taken,
    shows_why_it_failed,
    reads_times_with_strptime,
    reads_times_with_python_3_9,
    logs_in_with_form_data,
    logs_in_with_a_form,
    posts_json_without_a_content_type,
    keeps_line_ends,
    finds_its_old_data,
    sends_requests_from_a_page,
    makes_objects_of_answers,
    reads_its_token,
    deletes_and_checks,
    follows_a_slash,
)
