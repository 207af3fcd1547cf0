"""The HTTP client is made when it is needed, and closed with the server."""

from __future__ import annotations

import pytest

from eventapi.bootstrap.http_client import HttpClient
from eventapi.commands.users import GrantRole
from eventapi.webhooks import transport
from eventapi.webhooks.transport import Transport
from tests.eventapi.followers.following import until
from tests.eventapi.http.client import OPERATOR, Api, quiet_settings
from tests.eventapi.http.resources.server import V2
from tests.eventapi.webhooks import receiver, test_connection


async def test_a_transport_is_made_once_and_its_connections_closed() -> None:
    client = HttpClient()
    transport_of = client.transport(private=True)
    client.transport(private=False)
    assert client._transports == []
    async with test_connection.receiving() as (receiving, url):
        assert await transport_of().post(url, [], b"") == 200
        assert client._transports == [transport_of()]
        assert receiving.ended == 0
        client.close()
        await until(lambda: receiving.ended == 1)


def test_the_end_of_a_server_closes_its_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Transport] = []

    class Recorded(Transport):
        def __init__(self, *, private: bool) -> None:
            super().__init__(private=private)
            made.append(self)

    monkeypatch.setattr(transport, "Transport", Recorded)
    with receiver.receiving() as running:
        with Api(quiet_settings(webhook_private_addresses="on")) as api:
            root = api.caller("root", V2)
            api.execute(GrantRole("root", "operator", OPERATOR))
            assert made == []
            assert root.post("/webhooks", json={"url": running.url}).status_code == 201
            for _ in range(2):
                assert root.post("/webhooks/1/test").json()["status"] == 204
            assert [one._is_closed for one in made] == [False]
        assert [one._is_closed for one in made] == [True]
