"""Events over websockets (spec/07 §2): who may listen, what is told, and how a connection ends."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from tests.api.moving_van import archive, take_in
from tests.servers import Person, RunningServer

from inglenook.storage.announcements import KIND, LIFE, announce

pytestmark = pytest.mark.anyio
TESTS = "io.cozy.tests"
PATIENCE = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Ear:
    """A client of the websocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, method: str, payload: Any) -> None:
        await self.socket.send_str(json.dumps({"method": method, "payload": payload}))

    async def subscribe(self, doctype: str, id: str = "") -> None:
        await self.say("SUBSCRIBE", {"type": doctype, "id": id} if id else {"type": doctype})

    async def settle(self) -> None:
        """Return when every frame before this one was handled; events that came meanwhile are an error."""
        await self.subscribe("io.cozy.realtime.liveness.probe")
        frame = await self.hear()
        assert frame["payload"]["source"]["payload"]["type"] == "io.cozy.realtime.liveness.probe", frame

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        message = await self.socket.receive(timeout=PATIENCE)
        assert message.type == aiohttp.WSMsgType.TEXT, message
        return json.loads(message.data)

    async def ended(self) -> bool:
        """Whether the next thing is the end."""
        message = await self.socket.receive(timeout=PATIENCE)
        return message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


@asynccontextmanager
async def ear(person: Person, token: str | None) -> AsyncGenerator[Ear]:
    """Connect, and say who it is unless `token` is None."""
    address = f"{person.server.origin}/realtime/"
    headers = {"Host": person.instance.domain}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(address, headers=headers, protocols=["io.cozy.websocket"]) as socket,
    ):
        listener = Ear(socket)
        if token is not None:
            await listener.say("AUTH", token)
        yield listener


async def call(person: Person, method: str, path: str, *scopes: str, **rest: Any) -> Any:
    answer = await asyncio.to_thread(lambda: person.call(method, path, *scopes, **rest))
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def test_the_life_of_a_document_is_told_in_its_order(alice: Person) -> None:
    async with ear(alice, alice.token(TESTS)) as listener:
        assert listener.socket.protocol == "io.cozy.websocket"
        await listener.subscribe(TESTS)
        await listener.settle()
        made = await call(alice, "POST", f"/data/{TESTS}/", TESTS, json={"n": 1})
        changed = await call(
            alice, "PUT", f"/data/{TESTS}/{made['id']}", TESTS, json={"n": 2, "_id": made["id"], "_rev": made["rev"]}
        )
        gone = await call(alice, "DELETE", f"/data/{TESTS}/{made['id']}?rev={changed['rev']}", TESTS)
        frames = [await listener.hear() for _ in range(3)]
    assert [frame["event"] for frame in frames] == ["CREATED", "UPDATED", "DELETED"]
    assert all(set(frame["payload"]) == {"type", "id", "doc"} for frame in frames)
    assert frames[-1]["payload"]["doc"] == {"_id": made["id"], "_rev": gone["rev"], "n": 2}


async def test_a_directory_is_told_with_its_path_and_a_picture_with_its_thumbnails(alice: Person) -> None:
    files = "io.cozy.files"
    sink = io.BytesIO()
    Image.new("RGB", (20, 20)).save(sink, "PNG")
    async with ear(alice, alice.token(files)) as listener:
        await listener.subscribe(files)
        await listener.settle()
        made = await call(alice, "POST", "/files/?Type=directory&Path=/Told/Here&Recursive=true", files)
        told = [(await listener.hear())["payload"]["doc"] for _ in range(2)]
        assert [doc["path"] for doc in told] == ["/Told", "/Told/Here"]
        id = made["data"]["id"]
        await call(alice, "DELETE", f"/files/{id}", files)
        await call(alice, "DELETE", f"/files/trash/{id}", files)
        told = [(await listener.hear())["payload"]["doc"] for _ in range(2)]
        assert [doc["path"] for doc in told] == ["/.cozy_trash/Here", "/.cozy_trash/Here"]
        await listener.subscribe("io.cozy.files.thumbnails")
        await listener.settle()
        picture = await call(alice, "POST", "/files/?Type=file&Name=a.png", files, content=sink.getvalue())
        told = [(await listener.hear())["payload"] for _ in range(5)]
        made = [doc["doc"] for doc in told if doc["type"] == "io.cozy.files.thumbnails"]
        assert {doc["_id"] for doc in made} == {picture["data"]["id"]}
        assert sorted(doc["format"] for doc in made) == ["large", "medium", "small", "tiny"]


async def test_a_burst_is_told_whole(alice: Person) -> None:
    async with ear(alice, alice.token(TESTS)) as listener:
        await listener.subscribe(TESTS)
        await listener.settle()
        docs = [{"_id": f"burst-{n}", "n": n} for n in range(250)]
        await call(alice, "POST", f"/data/{TESTS}/_bulk_docs", TESTS, json={"docs": docs})
        told = [(await listener.hear())["payload"]["id"] for _ in docs]
    assert told == [doc["_id"] for doc in docs]


async def test_one_id_alone_and_the_end_of_a_subscription(alice: Person) -> None:
    async with ear(alice, alice.token(TESTS)) as listener:
        await listener.subscribe(TESTS, "mine")
        await listener.subscribe(TESTS, "never")
        await listener.settle()
        await call(alice, "PUT", f"/data/{TESTS}/other", TESTS, json={})
        await call(alice, "PUT", f"/data/{TESTS}/mine", TESTS, json={})
        assert (await listener.hear())["payload"]["id"] == "mine"
        await listener.say("UNSUBSCRIBE", {"type": TESTS})
        await listener.settle()
        await call(alice, "PUT", f"/data/{TESTS}/never", TESTS, json={})
        await listener.settle()


@pytest.mark.parametrize("first", ['{"method":"SUBSCRIBE","payload":{"type":"a"}}', "no json", '{"method":"HELLO"}'])
async def test_the_first_frame_must_say_who_it_is(alice: Person, first: str) -> None:
    async with ear(alice, None) as listener:
        await listener.socket.send_str(first)
        assert (await listener.hear())["payload"]["code"] == "method not allowed"
        assert await listener.ended()


@pytest.mark.parametrize("token", ["", "nonsense", "123456"])
async def test_a_bad_token_is_refused_and_not_repeated(alice: Person, token: str) -> None:
    async with ear(alice, token) as listener:
        frame = await listener.hear()
        assert frame["payload"]["status"] == "401 Unauthorized"
        assert frame["payload"]["source"] == {"method": "AUTH", "payload": ""}
        assert await listener.ended()


async def test_mistakes_are_told_and_the_connection_stays(alice: Person) -> None:
    async with ear(alice, alice.token(TESTS)) as listener:
        await listener.say("SHOUT", {"type": TESTS})
        assert (await listener.hear())["payload"]["title"] == "The SHOUT method is not supported"
        await listener.say("SUBSCRIBE", {})
        assert (await listener.hear())["payload"]["code"] == "page not found"
        await listener.settle()


@pytest.mark.parametrize("frame", ["no json", '"text"', '{"method":"AUTH","payload":"again"}'])
async def test_an_unreadable_frame_ends_the_connection(alice: Person, frame: str) -> None:
    async with ear(alice, alice.token(TESTS)) as listener:
        await listener.settle()
        await listener.socket.send_str(frame)
        assert await listener.ended()


async def test_a_frame_too_long_ends_the_connection(alice: Person) -> None:
    async with ear(alice, alice.token(TESTS)) as listener:
        await listener.settle()
        await listener.subscribe(TESTS, "x" * 70_000)
        assert await listener.ended()


async def test_credentials_of_sharings_stay_inside(alice: Person) -> None:
    from inglenook.sharing.documents import DOCTYPE

    async with ear(alice, alice.token(DOCTYPE)) as listener:
        await listener.subscribe(DOCTYPE)
        await listener.settle()
        body = {"description": "d", "rules": [], "members": [], "credentials": [{"state": "s3cret"}]}
        await asyncio.to_thread(
            alice.server.do, lambda _: alice.instance.store.write(lambda tx: tx.put(DOCTYPE, "s1", body))
        )
        frame = await listener.hear()
        await asyncio.to_thread(
            alice.server.do,
            lambda _: alice.instance.store.write(lambda tx: tx.delete(DOCTYPE, "s1", frame["payload"]["doc"]["_rev"])),
        )
        last = await listener.hear()
    assert frame["payload"]["doc"]["description"] == last["payload"]["doc"]["description"] == "d"
    assert "credentials" not in frame["payload"]["doc"]
    assert "credentials" not in last["payload"]["doc"]


async def test_a_notice_is_told_and_kept_nowhere(alice: Person) -> None:
    async with ear(alice, alice.token(TESTS)) as listener:
        await listener.subscribe(TESTS)
        await listener.settle()
        await call(alice, "POST", f"/realtime/{TESTS}/a1", TESTS, json={"data": 1})
        assert await listener.hear() == {
            "event": "NOTIFIED",
            "payload": {"type": TESTS, "id": "a1", "doc": {"_id": "a1", "data": 1}},
        }


@pytest.mark.parametrize(("path", "status"), [(f"{TESTS}/a", 403), ("io.cozy.sharings/a", 403), ("Bad..Name/a", 403)])
def test_who_may_not_write_gives_no_notice(alice: Person, path: str, status: int) -> None:
    assert alice.post(f"/realtime/{path}", "io.cozy.other", json={}).status_code == status


@pytest.mark.parametrize("content", [b"", b"[]", b"1", b"nothing"])
def test_a_notice_is_a_json_object(alice: Person, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert alice.post(f"/realtime/{TESTS}/a", TESTS, content=content, headers=headers).status_code == 400


def test_a_plain_request_is_told_that_it_is_out_of_place(alice: Person) -> None:
    assert alice.get("/realtime/").status_code == 400


async def test_old_announcements_are_swept(alice: Person) -> None:
    now = alice.instance.env.clock.now()
    store = alice.instance.store

    async def tell(then: Any) -> None:
        await store.write(lambda tx: announce(tx, then, "CREATED", TESTS, "x"))

    async def count() -> int:
        return len(await store.read(lambda view: view.records(KIND)))

    def later(times: int) -> Any:
        return now + LIFE * times

    await asyncio.to_thread(alice.server.do, lambda _: tell(later(2)))
    await asyncio.to_thread(alice.server.do, lambda _: tell(later(4)))
    assert await asyncio.to_thread(alice.server.do, lambda _: count()) == 1


async def test_the_first_passphrase_is_told(server: RunningServer) -> None:
    carol = await asyncio.to_thread(server.add, "carol")
    assert carol.instance.doc.register_token
    async with ear(carol, carol.token("io.cozy.settings:GET:io.cozy.settings.instance")) as listener:
        await listener.subscribe("io.cozy.settings", "io.cozy.settings.passphrase")
        await listener.settle()
        form = {"passphrase": "a" * 64, "register_token": carol.instance.doc.register_token.hex()}
        await asyncio.to_thread(lambda: carol.http.post("/settings/passphrase", data=form))
        frame = await listener.hear()
    assert frame["event"] == "CREATED"
    assert frame["payload"]["doc"] == {"_id": "io.cozy.settings.passphrase"}


async def test_who_listens_to_data_that_an_import_replaces_is_told_to_come_again(
    server: RunningServer, tmp_path: Path
) -> None:
    carol = server.add("replaced", passphrase="cozy")
    path = tmp_path / "archive.zip"
    path.write_bytes(await asyncio.to_thread(archive, carol))
    async with ear(carol, carol.token(TESTS)) as before:
        await before.subscribe(TESTS)
        await before.settle()
        await asyncio.to_thread(take_in, carol, path)
        message = await before.socket.receive(timeout=PATIENCE)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)
    carol.start_anew()
    async with ear(carol, carol.token(TESTS)) as after:
        await after.subscribe(TESTS)
        await after.settle()
        await call(carol, "POST", f"/data/{TESTS}/", TESTS, json_body={"n": 1})
        assert (await after.hear())["payload"]["doc"]["n"] == 1


async def test_who_listens_to_an_instance_that_is_deleted_is_told(server: RunningServer) -> None:
    bob2 = server.add("bob2", passphrase="cozy")
    async with ear(bob2, bob2.token(TESTS)) as listener:
        await listener.subscribe(TESTS)
        await listener.settle()
        await asyncio.to_thread(server.do, lambda runtime: runtime.instances.destroy(bob2.instance))
        message = await listener.socket.receive(timeout=PATIENCE)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
