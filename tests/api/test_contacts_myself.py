"""POST /contacts/myself (spec/07 §6.1) through the web application."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from inglenook.contacts import address_book
from inglenook.contacts.routes import ROUTES
from inglenook.environment import Config, Environment
from inglenook.identity import creation, tokens
from inglenook.identity.creation import Wish
from inglenook.identity.instance import Instance
from inglenook.web.app import create_app
from inglenook.web.runtime import Runtime

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Alice:
    def __init__(self, instance: Instance, web: httpx.AsyncClient) -> None:
        self.instance = instance
        self._web = web

    async def ask(self, scope: str | None) -> httpx.Response:
        headers = {}
        if scope is not None:
            headers["Authorization"] = "Bearer " + tokens.issue(self.instance, tokens.CLI, "", scope=scope)
        return await self._web.post("/contacts/myself", headers=headers)


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncGenerator[Alice]:
    runtime = Runtime(Environment(Config(data=tmp_path, dev=True)))
    await runtime.start(background=False)
    wish = Wish(email="alice@example.com", public_name="Alice")
    instance = await creation.create_instance(runtime.instances, "alice.localhost", wish)
    transport = httpx.ASGITransport(create_app(runtime, ROUTES))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://alice.localhost") as web:
        yield Alice(instance, web)
    await runtime.stop()


async def test_the_owner_is_a_contact(alice: Alice) -> None:
    answer = await alice.ask("io.cozy.contacts")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.api+json"
    data = answer.json()["data"]
    assert (data["type"], data["links"]["self"]) == ("io.cozy.contacts", "/contacts/myself")
    assert data["meta"]["rev"].startswith("1-")
    assert data["attributes"] == {
        "me": True,
        "fullname": "Alice",
        "displayName": "Alice",
        "email": [{"address": "alice@example.com", "primary": True}],
        "cozy": [{"url": "http://alice.localhost", "primary": True}],
        "indexes": {"byFamilyNameGivenNameEmailCozyUrl": "alice@example.com"},
    }
    assert (await alice.ask("io.cozy.contacts:GET")).json() == answer.json()


async def test_a_deleted_contact_is_made_again_but_not_for_strangers(alice: Alice) -> None:
    first = (await alice.ask("io.cozy.contacts")).json()["data"]
    store = alice.instance.store
    await store.write(lambda tx: tx.delete("io.cozy.contacts", first["id"], first["meta"]["rev"]))
    assert (await alice.ask("io.cozy.files")).status_code == 403
    assert await store.read(address_book.myself) is None
    second = (await alice.ask("io.cozy.contacts")).json()["data"]
    assert second["id"] != first["id"]
    assert second["attributes"] == first["attributes"]


async def test_a_token_with_the_right_to_see_contacts_is_needed(alice: Alice) -> None:
    assert (await alice.ask(None)).status_code == 401
    for scope in ("io.cozy.files", "io.cozy.contacts:POST,PUT", "io.cozy.contacts:GET:other"):
        assert (await alice.ask(scope)).status_code == 403
