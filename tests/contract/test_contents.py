"""Contents and blobs: from the bytes that come in to the collector that removes them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import obstore
import pytest

from inglenook.kernel.errors import NotFound, PreconditionFailed, TooLarge
from inglenook.storage.blobs.contract import BlobStore
from inglenook.storage.blobs.local import LocalBlobStores
from inglenook.storage.blobs.objects import Found, ObjectBlobs, ObjectBlobStores
from inglenook.storage.contents import GRACE_SECONDS, INLINE_BYTES, Contents, Received
from inglenook.storage.documents.contract import Content, DocumentStore

from .backends import SteppedClock, environment
from .conftest import Place

pytestmark = pytest.mark.anyio
FILES = "io.cozy.files"
SMALL = b"hello"
LARGE = os.urandom(3 * 1024 * 1024 + 17)


class ConnectionLost(Exception):
    """The client went away."""


async def chunks(data: bytes, size: int = 65_536, *, fail: bool = False) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
    if fail:
        raise ConnectionLost


def name_of(data: bytes) -> Content:
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    return Content(hashlib.sha256(data).hexdigest(), md5, len(data))


async def read(contents: Contents, content: Content, start: int = 0, end: int | None = None) -> bytes:
    pieces = [piece async for piece in contents.read(content, start, end)]
    assert all(0 < len(piece) <= 1024 * 1024 for piece in pieces)
    return b"".join(pieces)


async def hold(store: DocumentStore, id: str, received: Received) -> None:
    await store.write(lambda tx: received.hold(tx, FILES, id))


async def blobs_of(blobs: BlobStore) -> list[str]:
    return [sha256 async for sha256 in blobs.list()]


@pytest.fixture
async def contents(place: Place, store: DocumentStore) -> Contents:
    return place.contents(store)


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, len(LARGE)])
@pytest.mark.parametrize("chunk", [1000, 65_536, 2 * 1024 * 1024])
async def test_what_comes_in_comes_out(store: DocumentStore, contents: Contents, size: int, chunk: int) -> None:
    data = LARGE[:size]
    received = await contents.receive(chunks(data, chunk), max_bytes=size, expected_size=size)
    assert (received.content, received.size) == (name_of(data), size)
    assert received.data == (data if size <= INLINE_BYTES else None)
    await hold(store, "f", received)
    content = await store.read(lambda view: view.content(FILES, "f"))
    assert content == received.content
    assert await read(contents, content) == data
    assert await read(contents, content, 3, size + 10) == data[3:]
    assert await read(contents, content, 10, 20) == data[10:20]
    assert await read(contents, content, size) == b""


async def test_ranges_of_a_large_content(store: DocumentStore, contents: Contents) -> None:
    received = await contents.receive(chunks(LARGE))
    await hold(store, "f", received)
    for start, end in ((0, 1), (1024 * 1024 - 1, 1024 * 1024 + 1), (1_000_000, 2_500_000), (len(LARGE) - 1, None)):
        assert await read(contents, received.content, start, end) == LARGE[start:end]


@pytest.mark.parametrize("data", [SMALL, LARGE])
async def test_a_content_of_the_wrong_size_leaves_nothing(place: Place, contents: Contents, data: bytes) -> None:
    with pytest.raises(PreconditionFailed, match="Content length does not match") as caught:
        await contents.receive(chunks(data), expected_size=len(data) - 1)
    assert caught.value.parameter == "Content-Length"
    with pytest.raises(PreconditionFailed):
        await contents.receive(chunks(data), expected_size=len(data) + 1)
    with pytest.raises(TooLarge):
        await contents.receive(chunks(data), max_bytes=len(data) - 1)
    with pytest.raises(TooLarge):
        await contents.receive(chunks(data), max_bytes=-5)
    with pytest.raises(ConnectionLost):
        await contents.receive(chunks(data, fail=True))
    assert await blobs_of(place.blobs) == []
    assert await place.blobs.sweep(before=1e12) == 0


async def test_a_cancelled_upload_leaves_nothing(place: Place, contents: Contents) -> None:
    waits, sent = asyncio.Event(), asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield LARGE
        sent.set()
        await waits.wait()

    task = asyncio.create_task(contents.receive(stalling()))
    await asyncio.wait_for(sent.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await blobs_of(place.blobs) == []
    assert await place.blobs.sweep(before=1e12) == 0


async def test_a_small_content_lives_and_dies_with_its_documents(store: DocumentStore, contents: Contents) -> None:
    received = await contents.receive(chunks(SMALL))
    sha256 = received.content.sha256
    await hold(store, "a", received)
    await store.write(lambda tx: tx.hold(FILES, "b", received.content))  # by its name alone, as a copy does
    await store.write(lambda tx: tx.hold(FILES, "b", received.content))
    assert await store.read(lambda view: view.content_bytes(sha256)) == SMALL
    await store.write(lambda tx: tx.release(FILES, "a"))
    assert await read(contents, received.content) == SMALL
    assert await store.read(lambda view: (view.content(FILES, "a"), view.known_content(sha256))) == (
        None,
        received.content,
    )
    await store.write(lambda tx: tx.release(FILES, "b"))
    await store.write(lambda tx: tx.release(FILES, "b"))
    assert await store.read(lambda view: (view.content_bytes(sha256), view.known_content(sha256))) == (None, None)
    assert await store.write(lambda tx: tx.garbage(before=1e12)) == []
    with pytest.raises(NotFound):
        await read(contents, received.content)


async def test_a_document_names_one_content_at_a_time(store: DocumentStore, contents: Contents) -> None:
    first, second = await contents.receive(chunks(b"one")), await contents.receive(chunks(b"two"))
    await hold(store, "f", first)
    await hold(store, "f", second)
    assert await store.read(lambda view: view.content(FILES, "f")) == second.content
    assert await store.read(lambda view: view.known_content(first.content.sha256)) is None


async def test_equal_ids_of_two_doctypes_hold_their_own_contents(store: DocumentStore, contents: Contents) -> None:
    first, second = await contents.receive(chunks(b"one")), await contents.receive(chunks(b"two"))
    await store.write(lambda tx: first.hold(tx, FILES, "f"))
    await store.write(lambda tx: second.hold(tx, "io.cozy.files.versions", "f"))
    await store.write(lambda tx: tx.drop_doctype("io.cozy.files.versions"))
    assert await store.read(lambda view: view.content(FILES, "f")) == first.content


async def test_a_dropped_doctype_lets_go_of_its_contents(store: DocumentStore, contents: Contents) -> None:
    received = await contents.receive(chunks(SMALL))

    await store.write(lambda tx: tx.create_doctype(FILES))
    await hold(store, "f", received)
    await store.write(lambda tx: tx.drop_doctype(FILES))
    assert await store.read(lambda view: view.known_content(received.content.sha256)) is None


async def test_no_document_can_name_bytes_that_are_nowhere(store: DocumentStore) -> None:
    for content in (name_of(LARGE), Content("../../etc/passwd", "", 1), Content("zz", "", 1)):
        with pytest.raises(NotFound):
            await store.write(lambda tx, content=content: tx.hold(FILES, "f", content))
    assert await store.read(lambda view: view.content(FILES, "f")) is None


async def test_a_failing_change_names_no_content(store: DocumentStore, contents: Contents) -> None:
    received = await contents.receive(chunks(SMALL))

    def change(tx) -> None:
        received.hold(tx, FILES, "f")
        raise ConnectionLost

    with pytest.raises(ConnectionLost):
        await store.write(change)
    assert await store.read(lambda view: (view.content(FILES, "f"), view.known_content(received.content.sha256))) == (
        None,
        None,
    )


# -- the collector


async def test_a_blob_is_removed_some_time_after_the_last_document_let_go(
    place: Place, store: DocumentStore, contents: Contents
) -> None:
    received = await contents.receive(chunks(LARGE))
    sha256 = received.content.sha256
    await hold(store, "a", received)
    await hold(store, "b", received)
    await store.write(lambda tx: tx.release(FILES, "a"))
    place.clock.step(10 * GRACE_SECONDS)
    assert await contents.collect() == 0
    await store.write(lambda tx: tx.release(FILES, "b"))
    assert await contents.collect() == 0
    assert await place.blobs.exists(sha256)  # somebody may still be reading it
    place.clock.step(GRACE_SECONDS + 1)
    assert await contents.collect() == 1
    assert not await place.blobs.exists(sha256)
    assert await contents.collect() == 0


async def test_a_blob_named_again_is_no_garbage(place: Place, store: DocumentStore, contents: Contents) -> None:
    received = await contents.receive(chunks(LARGE))
    await hold(store, "a", received)
    await store.write(lambda tx: tx.release(FILES, "a"))
    await store.write(lambda tx: tx.hold(FILES, "b", received.content))
    place.clock.step(10 * GRACE_SECONDS)
    assert await store.write(lambda tx: tx.garbage(before=1e12)) == []
    assert await contents.collect() == 0
    assert await read(contents, received.content) == LARGE


async def test_a_blob_that_comes_in_again_while_it_is_collected_stays(
    place: Place, store: DocumentStore, contents: Contents
) -> None:
    received = await contents.receive(chunks(LARGE))
    sha256 = received.content.sha256
    await hold(store, "a", received)
    await store.write(lambda tx: tx.release(FILES, "a"))
    place.clock.step(10 * GRACE_SECONDS)
    before = place.clock.now().timestamp() - GRACE_SECONDS
    assert await store.write(lambda tx: [sha for sha in tx.garbage(before=before) if tx.forget_garbage(sha)]) == [
        sha256
    ]
    # between the decision of the collector and the removal, once by an upload and once by a copy
    again = await contents.receive(chunks(LARGE))
    assert not await place.blobs.delete(sha256, untouched_since=before)
    await hold(store, "b", again)
    assert await read(contents, again.content) == LARGE
    await store.write(lambda tx: tx.release(FILES, "b"))
    place.clock.step(10 * GRACE_SECONDS)
    before = place.clock.now().timestamp() - GRACE_SECONDS
    assert await store.write(lambda tx: tx.forget_garbage(sha256))
    await store.write(lambda tx: tx.hold(FILES, "c", received.content))
    assert not await place.blobs.delete(sha256, untouched_since=before)
    assert await read(contents, received.content) == LARGE


async def test_a_discarded_upload_is_collected_unless_a_document_names_it(
    place: Place, store: DocumentStore, contents: Contents
) -> None:
    wanted, unwanted = await contents.receive(chunks(LARGE)), await contents.receive(chunks(LARGE[1:]))
    await hold(store, "a", wanted)
    for received in (wanted, unwanted, await contents.receive(chunks(SMALL))):
        await contents.discard(received)
    place.clock.step(2 * GRACE_SECONDS)
    assert await contents.collect() == 1
    assert await blobs_of(place.blobs) == [wanted.content.sha256]


async def test_blobs_that_a_crash_left_unnamed_are_found(
    place: Place, store: DocumentStore, contents: Contents
) -> None:
    named, lost = await contents.receive(chunks(LARGE)), await contents.receive(chunks(LARGE[1:]))
    await hold(store, "a", named)
    assert await contents.reconcile() == 1
    place.clock.step(2 * GRACE_SECONDS)
    assert await contents.collect() == 1
    assert await blobs_of(place.blobs) == [named.content.sha256]
    assert not await place.blobs.exists(lost.content.sha256)


async def test_the_store_tells_since_when_a_blob_is_garbage_and_that_there_is_some(
    place: Place, store: DocumentStore, contents: Contents
) -> None:
    assert await store.read(lambda view: view.oldest_garbage()) is None
    assert await contents.next_collection() is None
    first, second = await contents.receive(chunks(LARGE)), await contents.receive(chunks(LARGE[1:]))
    seq = await store.read(lambda view: view.last_seq())
    moment = place.clock.now().timestamp()
    await contents.discard(first)
    assert await store.read(lambda view: view.last_seq()) > seq, "who subscribes is told"
    place.clock.step(60)
    await contents.discard(second)
    assert await store.read(lambda view: view.oldest_garbage()) == moment
    assert await contents.next_collection() == moment + GRACE_SECONDS
    assert await contents.reconcile() == 0, "it is known already, and its time goes on"
    assert await store.read(lambda view: view.oldest_garbage()) == moment
    place.clock.step(GRACE_SECONDS - 30)
    assert await contents.collect() == 1
    assert await store.read(lambda view: view.oldest_garbage()) == moment + 60
    place.clock.step(60)
    assert await contents.collect() == 1
    assert await contents.next_collection() is None


# -- the blob store alone


async def test_nothing_is_visible_before_an_upload_is_finished(place: Place) -> None:
    blobs, content = place.blobs, name_of(SMALL)
    upload = await blobs.begin()
    await upload.write(SMALL[:2])
    await upload.write(SMALL[2:])
    assert not await blobs.exists(content.sha256)
    assert await blobs_of(blobs) == []
    await upload.finish(content)
    await upload.abort()
    assert await blobs.exists(content.sha256)
    assert await blobs.size(content.sha256) == len(SMALL)
    assert [piece async for piece in blobs.read(content.sha256, 1, 3)] == [SMALL[1:3]]


async def test_an_aborted_upload_leaves_nothing(place: Place) -> None:
    upload = await place.blobs.begin()
    await upload.write(SMALL)
    await upload.abort()
    await upload.abort()
    assert await blobs_of(place.blobs) == []
    assert await place.blobs.sweep(before=1e12) == 0


async def test_what_is_not_there_cannot_be_read(place: Place) -> None:
    sha256 = name_of(SMALL).sha256
    with pytest.raises(NotFound):
        await anext(place.blobs.read(sha256))
    with pytest.raises(NotFound):
        await place.blobs.size(sha256)
    assert not await place.blobs.exists(sha256)
    assert not await place.blobs.delete(sha256, untouched_since=1e12)


async def test_a_blob_put_after_the_given_moment_is_not_removed(place: Place) -> None:
    content = name_of(SMALL)
    for _ in range(2):
        upload = await place.blobs.begin()
        await upload.write(SMALL)
        await upload.finish(content)
        place.clock.step(100)
    put = place.clock.now().timestamp() - 100
    assert not await place.blobs.delete(content.sha256, untouched_since=put - 1)
    assert await place.blobs.delete(content.sha256, untouched_since=put)
    assert await blobs_of(place.blobs) == []


async def test_a_reader_of_a_removed_blob_reads_to_the_end(place: Place) -> None:
    content = name_of(LARGE)
    upload = await place.blobs.begin()
    await upload.write(LARGE)
    await upload.finish(content)
    reading = place.blobs.read(content.sha256)
    first = await anext(reading)
    assert await place.blobs.delete(content.sha256, untouched_since=1e12)
    assert first + b"".join([piece async for piece in reading]) == LARGE


async def test_the_blobs_of_an_instance_are_destroyed_together(place: Place) -> None:
    for owner in ("alice", "bob"):
        upload = await place.all_blobs.of(owner).begin()
        await upload.write(SMALL)
        await upload.finish(name_of(SMALL))
    await place.blobs.destroy()
    assert await blobs_of(place.blobs) == []
    assert await blobs_of(place.all_blobs.of("bob")) == [name_of(SMALL).sha256]


async def test_local_blobs_sweep_what_interrupted_uploads_left(tmp_path: Path) -> None:
    blobs = LocalBlobStores(tmp_path, SteppedClock()).of("alice")
    left = tmp_path / "alice" / "blobs" / "tmp" / "left"
    left.parent.mkdir(parents=True)
    left.write_bytes(SMALL)
    os.utime(left, (1000, 1000))
    assert await blobs.sweep(before=999) == 0
    assert await blobs.sweep(before=1001) == 1
    assert not left.exists()


async def test_a_large_content_is_on_its_way_to_the_disk_while_it_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, int]] = []
    advise = os.posix_fadvise

    def noted(fd: int, offset: int, length: int, advice: int) -> None:
        begun.append((offset, length))
        advise(fd, offset, length, advice)

    monkeypatch.setattr("inglenook.storage.blobs.local.WRITE_BACK", 1024 * 1024)
    monkeypatch.setattr(os, "posix_fadvise", noted)
    blobs, content = LocalBlobStores(tmp_path, SteppedClock()).of("alice"), name_of(LARGE)
    upload = await blobs.begin()
    async for piece in chunks(LARGE, 600_000):
        await upload.write(piece)
    await upload.finish(content)
    assert begun == [(0, 1_200_000), (1_200_000, 1_200_000)]
    assert b"".join([piece async for piece in blobs.read(content.sha256)]) == LARGE


# -- an object store


async def paths_of(blobs: ObjectBlobs) -> list[str]:
    return [path.partition("/")[2] async for path in blobs._paths("")]


async def test_an_object_store_sweeps_what_an_upload_left_without_its_name() -> None:
    env = environment()
    blobs = ObjectBlobStores("memory://", env).of("alice")
    upload = await blobs.begin()
    await upload.write(SMALL)
    await upload._writer.close()  # the process died right here
    now = env.clock.now().timestamp()
    finished = await blobs.begin()
    await finished.write(LARGE)
    await finished.finish(name_of(LARGE))
    assert await blobs.sweep(before=now) == 0
    assert await blobs.sweep(before=now + 1) == 1
    paths = await paths_of(blobs)
    assert sorted(path.partition("/")[0] for path in paths) == ["blobs", "data"]
    assert [piece async for piece in blobs.read(name_of(LARGE).sha256, 5, 9)] == [LARGE[5:9]]


async def test_equal_uploads_to_an_object_store_keep_one_copy() -> None:
    blobs = ObjectBlobStores("memory://", environment()).of("alice")
    for _ in range(3):
        upload = await blobs.begin()
        await upload.write(SMALL)
        await upload.finish(name_of(SMALL))
    assert len([path for path in await paths_of(blobs) if path.startswith("data/")]) == 1


async def test_bytes_that_are_named_while_they_are_removed_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, content = ObjectBlobStores("memory://", environment()).of("alice"), name_of(SMALL)
    upload = await blobs.begin()
    await upload.write(SMALL)
    await upload.finish(content)
    find, seen = blobs._find, list[bool]()

    async def find_and_cross(sha256: str) -> Found:
        found = await find(sha256)
        if not seen:  # the collector has looked, and not yet marked: somebody names the bytes now
            seen.append(blobs.keep(sha256))
        return found

    monkeypatch.setattr(blobs, "_find", find_and_cross)
    assert not await blobs.delete(content.sha256, untouched_since=1e12)
    assert seen == [True]
    monkeypatch.undo()
    assert [piece async for piece in blobs.read(content.sha256)] == [SMALL]


async def test_bytes_that_are_being_removed_cannot_be_named() -> None:
    blobs, content = ObjectBlobStores("memory://", environment()).of("alice"), name_of(SMALL)
    upload = await blobs.begin()
    await upload.write(SMALL)
    await upload.finish(content)
    (name,) = [path for path in await paths_of(blobs) if path.startswith("blobs/")]
    id = name.rpartition("/")[2].partition(".")[0]
    await obstore.put_async(blobs._objects, f"alice/blobs/{content.sha256}/{id}.leaving", b"")
    assert not blobs.keep(content.sha256)
    assert not await blobs.exists(content.sha256)
    again = await blobs.begin()
    await again.write(SMALL)
    await again.finish(content)
    assert blobs.keep(content.sha256)
    assert [piece async for piece in blobs.read(content.sha256)] == [SMALL]
