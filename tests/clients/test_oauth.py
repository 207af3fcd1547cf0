"""Libraries for OAuth 2.0 log in, refresh and report errors."""

from __future__ import annotations

import time
import warnings
from typing import Any

import httpx
import httpx_auth
import pytest
import requests
import requests_oauthlib
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient

from tests.clients.idioms import registration
from tests.clients.services import PASSWORD, Successor

with warnings.catch_warnings(action="ignore"):  # It recommends another client than httpx.
    from authlib.integrations.httpx_client import AsyncOAuth2Client

PREFIXES = ("", "/api/v2")
REFRESHING = ("/auth/refresh", "/auth/login")


@pytest.fixture(params=PREFIXES, ids=["v1", "v2"])
def base(request: pytest.FixtureRequest, new: Successor) -> str:
    """The base URL of an API version."""
    return f"{new.url}{request.param}"


@pytest.fixture(scope="module")
def name(new: Successor) -> str:
    """The name of an account."""
    return register(new)


def register(new: Successor) -> str:
    user = registration()
    httpx.post(f"{new.url}/auth/register", json=user).raise_for_status()
    return str(user["username"])


@pytest.fixture
def insecure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow tokens without TLS, which oauthlib and authlib refuse by default."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.mark.usefixtures("insecure")
@pytest.mark.parametrize("refreshing", REFRESHING)
def test_requests_oauthlib_logs_in_and_refreshes(base: str, name: str, refreshing: str) -> None:
    saved: list[dict[str, Any]] = []
    session = requests_oauthlib.OAuth2Session(
        client=LegacyApplicationClient(client_id="app"),
        auto_refresh_url=f"{base}{refreshing}",
        token_updater=saved.append,
    )
    first = session.fetch_token(f"{base}/auth/login", username=name, password=PASSWORD)
    assert session.get(f"{base}/auth/me").json()["username"] == name

    session.token = {**first, "expires_at": time.time() - 1}

    assert session.get(f"{base}/auth/me").json()["username"] == name
    assert [token["refresh_token"] for token in saved] != [first["refresh_token"]]

    assert session.get(f"{base}/auth/me").status_code == 200
    assert len(saved) == 1
    session.close()


@pytest.mark.usefixtures("insecure")
def test_requests_oauthlib_raises_the_error_of_the_server(base: str, name: str) -> None:
    with requests_oauthlib.OAuth2Session(
        client=LegacyApplicationClient(client_id="app")
    ) as session:
        with pytest.raises(InvalidGrantError) as wrong:
            session.fetch_token(f"{base}/auth/login", username=name, password="wrong password")
        assert wrong.value.description
        for refreshing in REFRESHING:
            with pytest.raises(InvalidGrantError):
                session.refresh_token(f"{base}{refreshing}", refresh_token="nonsense")


@pytest.mark.usefixtures("insecure")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
@pytest.mark.parametrize("refreshing", REFRESHING)
def test_authlib_logs_in_and_refreshes(base: str, name: str, refreshing: str, method: str) -> None:
    saved: list[Any] = []
    with OAuth2Session(
        "app",
        "secret",
        token_endpoint_auth_method=method,
        token_endpoint=f"{base}{refreshing}",
        update_token=lambda token, **_: saved.append(token),
        leeway=0,
    ) as session:
        first = session.fetch_token(
            f"{base}/auth/login", username=name, password=PASSWORD, grant_type="password"
        )

        session.token = {**first, "expires_at": int(time.time()) - 1}

        assert session.get(f"{base}/auth/me").json()["username"] == name
        assert [token["refresh_token"] != first["refresh_token"] for token in saved] == [True]


@pytest.mark.usefixtures("insecure")
def test_authlib_raises_the_error_of_the_server(base: str, name: str) -> None:
    with OAuth2Session("app", token_endpoint_auth_method="none") as session:
        with pytest.raises(OAuthError) as wrong:
            session.fetch_token(
                f"{base}/auth/login", username=name, password="wrong", grant_type="password"
            )
        assert wrong.value.error == "invalid_grant"
        with pytest.raises(OAuthError) as spent:
            session.refresh_token(f"{base}/auth/refresh", refresh_token="nonsense")
        assert spent.value.error == "invalid_grant"


@pytest.mark.usefixtures("insecure")
async def test_authlib_for_httpx_logs_in_and_refreshes(base: str, name: str) -> None:
    async with AsyncOAuth2Client(
        "app", token_endpoint_auth_method="none", token_endpoint=f"{base}/auth/refresh"
    ) as client:
        first = await client.fetch_token(
            f"{base}/auth/login", username=name, password=PASSWORD, grant_type="password"
        )

        client.token = {**first, "expires_at": int(time.time()) - 1}
        me = await client.get(f"{base}/auth/me")

        assert me.json()["username"] == name
        assert client.token["refresh_token"] != first["refresh_token"]


def test_httpx_auth_logs_in_and_refreshes(new: Successor, base: str) -> None:
    name = register(new)
    auth = httpx_auth.OAuth2ResourceOwnerPasswordCredentials(
        f"{base}/auth/login", username=name, password=PASSWORD, early_expiry=10**6
    )
    with httpx.Client(auth=auth) as client:
        names = [client.get(f"{base}/auth/me").json()["username"] for _ in range(3)]

    assert names == [name] * 3
    token = httpx.post(f"{base}/auth/login", data={"username": name, "password": PASSWORD}).json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert len(httpx.get(f"{base}/auth/sessions", headers=headers).json()) == 2


def test_httpx_auth_raises_the_error_of_the_server(base: str, name: str) -> None:
    auth = httpx_auth.OAuth2ResourceOwnerPasswordCredentials(
        f"{base}/auth/login", username=name, password="wrong password"
    )

    with pytest.raises(httpx_auth.InvalidGrantRequest, match="invalid_grant"):
        httpx.get(f"{base}/auth/me", auth=auth)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "password", "username": "ann"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "password", "username": "ann", "password": "x"}, "invalid_grant"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
def test_errors_of_the_token_endpoint_have_an_oauth_code(
    base: str, form: dict[str, str], error: str
) -> None:
    answer = requests.post(f"{base}/auth/login", data=form)

    body = answer.json()

    assert 400 <= answer.status_code < 500
    assert body["error"] == error
    assert body["error_description"]
    assert '"' not in body["error_description"]


def test_other_endpoints_have_no_oauth_error_code(base: str) -> None:
    body = requests.get(f"{base}/auth/me").json()

    assert "error" not in body
