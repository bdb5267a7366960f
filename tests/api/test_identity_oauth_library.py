"""A client made with an OAuth library that knows nothing of this server but its address (RFC 6749, 7591, 7592, 7636,
8414)."""

from __future__ import annotations

import os
from typing import Any

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from tests.browser_forms import Browser, fields
from tests.servers import Person

CALLBACK = "https://device.example/cb"
SCOPE = "io.cozy.settings:GET"


@pytest.fixture(autouse=True)
def plain_http_is_fine_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library insists on https otherwise."""
    monkeypatch.setitem(os.environ, "AUTHLIB_INSECURE_TRANSPORT", "true")


def discovered(person: Person) -> dict[str, Any]:
    answer = httpx.get(f"{person.url}/.well-known/oauth-authorization-server", trust_env=False)
    assert answer.status_code == 200
    return answer.json()


def registered(person: Person, server: dict[str, Any]) -> dict[str, Any]:
    declared = {"redirect_uris": [CALLBACK], "client_name": "Library", "software_id": "github.com/example/library"}
    answer = httpx.post(server["registration_endpoint"], json=declared, trust_env=False)
    assert answer.status_code == 201
    return answer.json()


def session(client: dict[str, Any], server: dict[str, Any], method: str, **more: Any) -> OAuth2Client:
    return OAuth2Client(
        client_id=client["client_id"], client_secret=client["client_secret"], redirect_uri=CALLBACK, scope=SCOPE,
        token_endpoint=server["token_endpoint"], token_endpoint_auth_method=method, code_challenge_method="S256",
        trust_env=False, **more,
    )  # fmt: skip


def consented(person: Person, address: str) -> str:
    """The owner logs in, says yes, and is sent back: to which address."""
    browser = Browser(person)
    assert browser.login().status_code == 303
    page = browser.get(address)
    assert page.status_code == 200, page.text
    answer = browser.post("/auth/authorize", data=fields(page.text))
    assert answer.status_code == 302
    return answer.headers["location"].removesuffix("#")  # no browser sends the fragment on


def test_the_discovery_document_is_what_the_rfc_asks_for(alice: Person) -> None:
    server = discovered(alice)
    assert server["issuer"] == alice.url
    metadata = AuthorizationServerMetadata(server)
    for member in ("authorization_endpoint", "token_endpoint", "registration_endpoint"):
        assert metadata[member].startswith(f"{alice.url}/auth/")
    metadata.validate_response_types_supported()
    metadata.validate_grant_types_supported()
    metadata.validate_token_endpoint_auth_methods_supported()
    metadata.validate_code_challenge_methods_supported()


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_library_gets_a_token_uses_it_and_renews_it(alice: Person, method: str) -> None:
    server = discovered(alice)
    client = registered(alice, server)
    verifier = "v" * 64
    with session(client, server, method) as oauth:
        address, state = oauth.create_authorization_url(server["authorization_endpoint"], code_verifier=verifier)
        back = consented(alice, address)
        token = oauth.fetch_token(authorization_response=back, state=state, code_verifier=verifier)
        assert token["scope"] == SCOPE
        assert oauth.get(f"{alice.url}/settings/instance").json()["data"]["attributes"]["public_name"] == "Alice"
        renewed = oauth.refresh_token(server["token_endpoint"])
        assert renewed["access_token"]
        assert renewed["refresh_token"] == token["refresh_token"], "the old one stays good"
        assert oauth.get(f"{alice.url}/settings/capabilities").status_code == 200


def test_another_verifier_gets_nothing(alice: Person) -> None:
    server = discovered(alice)
    with session(registered(alice, server), server, "client_secret_post") as oauth:
        address, state = oauth.create_authorization_url(server["authorization_endpoint"], code_verifier="a" * 64)
        back = consented(alice, address)
        with pytest.raises(Exception, match="invalid code_verifier"):
            oauth.fetch_token(authorization_response=back, state=state, code_verifier="b" * 64)


def test_a_client_manages_itself_with_its_registration_token(alice: Person) -> None:
    server = discovered(alice)
    client = registered(alice, server)
    place = f"{server['registration_endpoint']}/{client['client_id']}"
    bearer = {"Authorization": f"Bearer {client['registration_access_token']}"}
    with httpx.Client(headers=bearer, trust_env=False) as http:
        read = http.get(place).json()
        assert read["client_name"] == client["client_name"]
        changed = http.put(place, json={**read, "client_name": "Renamed", "client_secret": None})
        assert changed.json()["client_name"] == "Renamed"
        assert http.delete(place).status_code == 204
        assert http.get(place).status_code == 404


def test_answers_with_tokens_are_kept_by_nobody(alice: Person) -> None:
    server = discovered(alice)
    client = registered(alice, server)
    refused = httpx.post(server["token_endpoint"], data={"grant_type": "password"}, trust_env=False)
    assert refused.status_code == 400
    for answer in (refused, httpx.get(f"{server['registration_endpoint']}/{client['client_id']}", trust_env=False)):
        assert answer.headers["cache-control"] == "private, no-store"
