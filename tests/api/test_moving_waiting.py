"""Who waits for an import or a move: the page, and the word that it is over (spec/12 §7)."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
import pytest
from tests.servers import Person, RunningServer

from inglenook.identity.creation import update_settings
from inglenook.moving import blocking

pytestmark = pytest.mark.anyio
HTML = {"Accept": "text/html"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("reason", blocking.OURS)
async def test_nobody_is_sent_away_while_they_would_be_sent_back(server: RunningServer, reason: str) -> None:
    """Before the archive of a move is there, and while a command imports, no job of the server tells of it."""
    person = server.add(f"alice-{reason.lower()}", passphrase="cozy")
    server.do(lambda _: blocking.block(person.instance, reason))
    sent = person.get("/auth/login", headers=HTML)
    assert (sent.status_code, sent.headers["location"]) == (302, f"{person.url}/move/importing")
    assert "/auth/login" not in person.get("/move/importing", headers=HTML).text

    async with aiohttp.ClientSession() as http:
        headers = {"Host": person.domain}
        address = f"{server.origin}/move/importing/realtime"
        async with http.ws_connect(address, headers=headers, protocols=["io.cozy.websocket"]) as socket:
            word = asyncio.ensure_future(socket.receive_json(timeout=30))
            assert not (await asyncio.wait([word], timeout=1))[0], "nothing is over yet"
            await asyncio.to_thread(server.do, lambda _: blocking.unblock(person.instance))
            assert await word == {"redirect": f"{person.url}/auth/login"}
    assert person.get("/auth/login", headers=HTML).status_code == 200


async def test_where_nothing_is_under_way_the_word_comes_at_once(alice: Person) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{alice.server.origin}/move/importing/realtime", headers={"Host": alice.domain}) as socket,
    ):
        assert await socket.receive_json(timeout=30) == {"redirect": f"{alice.url}/auth/login"}


@pytest.mark.parametrize(("known", "words"), [(True, "https://notes.alice.example/x?y=1"), (False, "Ask the person")])
async def test_a_stranger_is_told_where_an_instance_is_now(server: RunningServer, known: bool, words: str) -> None:
    person = server.add(f"carol-{known}".lower(), passphrase="cozy")
    server.do(
        lambda runtime: runtime.instances.modify(person.instance, lambda doc: msgspec.structs.replace(doc, moved=True))
    )
    if known:
        server.do(lambda _: update_settings(person.instance, {"moved_to": "https://alice.example"}))
    page = person.get("/x?y=1", headers={"Host": f"notes.{person.domain}", **HTML})
    assert page.status_code == 410
    assert words in page.text
    assert ("has a new address" in page.text) is known
