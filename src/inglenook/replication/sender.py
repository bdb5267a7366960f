"""What sends the changes of one sharing to one member (spec/05 §8–§10, §20).

A sender follows the feed of its sharing behind a durable checkpoint. Folders, documents and removals go in bulks,
one after the other; files go side by side, small ones past large ones. A file that fails is written down with its
reason and tried again by itself, and stops no other; a member that cannot be reached stops its own sender only,
until a probe or a call from there tells that it is back.

Invariants: the checkpoint never passes a change that was neither taken by the member nor written down as a retry;
everything sent may be sent again. After a crash the sender starts at its checkpoint, and what the member has
already is answered as an echo.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
import structlog

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, DomainError, UpstreamFailed
from inglenook.peers import backoff
from inglenook.peers.errors import PeerBusy, PeerCircuitOpen, PeerGarbage
from inglenook.peers.peers import TRANSFER, PeerLink, PeerResponse
from inglenook.replication import outbox
from inglenook.replication.link_state import LinkState, Retry, load_state, save_state
from inglenook.replication.outbox import Change, FileToSend, Page
from inglenook.sharing import documents, links, tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.contents import INLINE_BYTES
from inglenook.storage.documents.contract import Content, Record, Writer

log = structlog.get_logger("inglenook.replication")

BATCH = 400
AT_ONCE = 16
LARGE = 4 * 1024 * 1024
LARGE_AT_ONCE = 2
SMALL_TRANSFER = 60.0
LONGEST_REST = 30.0  # seconds between two looks at a member that is away: one small request
WINDOW = 64
JSON = "application/json"
UNREACHABLE = frozenset({502, 503, 504})


class Ended(Exception):
    """The sharing or the member is no longer there: nothing is to be sent any more."""


class Refused(DomainError):
    """The member's server has refused one document; it is tried again later."""

    def __init__(self, response: PeerResponse) -> None:
        super().__init__(f"refused with {response.status}: {reason(response)}")
        self.status = response.status


@dataclass(slots=True)
class Progress:
    """How far a run is: `cursor` is read, `open` is on its way (document → place in the feed)."""

    cursor: int
    open: dict[str, int] = field(default_factory=dict[str, int])
    again: set[str] = field(default_factory=set[str])

    @property
    def done(self) -> int:
        """Up to here everything is with the member, or written down."""
        return min(self.open.values()) - 1 if self.open else self.cursor


class Sender:
    """Sends to one member. `run` goes on until it is cancelled or the member is gone."""

    def __init__(self, instance: Instance, sharing_id: str, index: int) -> None:
        self.instance = instance
        self.sharing_id = sharing_id
        self.index = index
        self.kind = tracking.retry_kind(sharing_id, index)
        self.state = LinkState()
        self._woken = asyncio.Event()
        self._recovered = asyncio.Event()
        self._link: PeerLink | None = None
        self._uploads: set[asyncio.Task[None]] = set()
        self._small = asyncio.Semaphore(AT_ONCE)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._trouble: UpstreamFailed | None = None
        self._fault: BaseException | None = None
        self._until: int | None = None
        self._sent: dict[str, str] = {}
        self._log = log.bind(instance=instance.domain, sharing=sharing_id, member=index)

    def wake(self) -> None:
        """Something may have changed."""
        self._woken.set()

    def finish(self, seq: int | None) -> None:
        """Send what has happened up to a sequence, and end: this side may write no longer (spec/05 §1). None: go on."""
        self._until = seq
        self.wake()

    def recovered(self) -> None:
        """The member's server answers again."""
        self._recovered.set()
        self._woken.set()

    # -- the run

    async def run(self) -> None:
        """Follow the feed. Returns when there is nobody to send to any more."""
        failures = 0
        try:
            self.state = await self.instance.store.read(lambda view: load_state(view, self.sharing_id, self.index))
            while True:
                try:
                    if failures:
                        await self._knock()
                        self.state.succeeded(self.instance.env.clock.timestamp())
                        await self._keep_state()
                    await self._follow()
                    failures = 0
                except UpstreamFailed as trouble:
                    await self._drop_uploads()
                    failures = 0 if self.state.moved_on else failures
                    await self._rest(trouble, failures)
                    failures += 1
        except Ended:
            return
        finally:
            await self._drop_uploads()

    async def _knock(self) -> None:
        """Ask one small thing alone: a circuit lets one request try, and refuses those beside it."""
        await self._sharing()
        with suppress(Refused):
            await self._call("POST", "/_revs_diff", {})

    async def _follow(self) -> None:
        """Read and send until the peer fails (UpstreamFailed) or the member is gone (Ended)."""
        since = await self.instance.store.read(
            lambda view: view.checkpoint(tracking.checkpoint_of(self.sharing_id, self.index))
        )
        progress = Progress(since)
        self._trouble = None
        self.state.moved_on = False
        sharing = await self._sharing()
        if sharing.owner and self.state.phase == "folders":
            await self._greet()
            await self._send_folders(sharing)
        while True:
            self._woken.clear()
            self._check_uploads()
            sharing = await self._sharing()
            room = WINDOW - len(progress.open)
            page = Page(progress.cursor, more=False)
            if room > 0:
                page = await self._read(sharing, progress.cursor, BATCH)
            if page.last > progress.cursor:
                await self._send_page(sharing, page, progress)
                continue
            if self._until is not None and progress.done >= min(self._until, progress.cursor):
                raise Ended
            if await self._retries_due(sharing, progress):
                continue
            await self._keep_checkpoint(progress)
            if not progress.open:
                await self._caught_up(sharing)
            await self._wait(progress)

    @property
    def _stopped(self) -> bool:
        return self._trouble is not None or self._fault is not None

    def _check_uploads(self) -> None:
        """Raise what has stopped an upload: the member's server is out of reach, or a fault."""
        if self._fault is not None:
            raise self._fault
        if self._trouble is not None:
            raise self._trouble

    async def _sharing(self) -> Sharing:
        """The sharing as it is now. Raises Ended."""
        sharing = await self.instance.store.read(lambda view: documents.get(view, self.sharing_id))
        if sharing is None or not sharing.active or self.index >= len(sharing.members):
            raise Ended
        if sharing.owner and sharing.members[self.index].status != "ready":
            raise Ended
        self._use_credentials(sharing)
        return sharing

    def _use_credentials(self, sharing: Sharing) -> None:
        """Take the link of the current credentials, shared by all requests, so that a token is renewed once."""
        try:
            link = links.peer_link(self.instance, sharing, self.index)
        except BadRequest as error:
            raise Ended from error
        if self._link is None or self._link.client_id != link.client_id or self._link.instance != link.instance:
            self._link = link

    @property
    def link(self) -> PeerLink:
        """The line to the member's server."""
        assert self._link is not None
        return self._link

    async def _greet(self) -> None:
        """Wait until the member has stored what came with the answer: about a second (spec/04 trap 23)."""
        for pause in (0.1, 0.2, 0.4, 0.8):
            await asyncio.sleep(pause)
            with suppress(Refused):
                await self._call("POST", "/_revs_diff", {})
                return

    # -- reading

    async def _read(self, sharing: Sharing, since: int, limit: int) -> Page:
        key = self._key(sharing)
        return await self.instance.store.read(
            lambda view: outbox.read_page(view, sharing, self.index, key, since, limit)
        )

    def _key(self, sharing: Sharing) -> bytes:
        credentials = sharing.credentials_for(self.index)
        return credentials.xor_key if credentials else b""

    # -- sending

    async def _send_folders(self, sharing: Sharing) -> None:
        """The first copy begins with all folders (spec/05 §21.1)."""
        key = self._key(sharing)
        folders = await self.instance.store.scan(lambda view: outbox.folders_first(view, sharing, key))
        for start in range(0, len(folders), BATCH):
            batch = folders[start : start + BATCH]
            await self._send_bulk(sharing, batch)
            self._sent.update({folder.id: folder.rev for folder in batch})
        await self._set_phase("files")

    async def _send_page(self, sharing: Sharing, page: Page, progress: Progress) -> None:
        """Send one page: folders and documents, files, removals; then the cursor moves on."""
        if page.revoked:
            await self._revoke(sharing)
        bulk = [change for change in page.bulk if self._sent.get(change.id) != change.rev]
        removals = list(page.removals)
        # an upload that is on its way must not arrive behind the removal of its file
        await self._uploads_over(lambda: not any(tracking_id(gone) in progress.open for gone in removals))
        folders_go = any(change.depth == 0 for change in removals)
        moved = [file for file in page.files if not file.created]
        if not (folders_go and moved):
            bulk, removals = [*bulk, *removals], []
        if bulk:
            await self._send_changes(sharing, bulk)
        for file in page.files:
            self._start_upload(sharing, file, progress)
        progress.cursor = page.last
        if removals:
            # a file that has left a folder must be gone from it before the folder goes (spec/05 §21.9)
            await self._uploads_over(lambda: not progress.open)
            await self._send_changes(sharing, removals)
        await self._uploads_over(lambda: len(progress.open) < WINDOW)
        if not self._stopped and len(page.bulk) + len(page.files) >= BATCH // 2:
            await self._keep_checkpoint(progress)

    async def _uploads_over(self, enough: Callable[[], bool]) -> None:
        """Wait until enough uploads have ended. Raises as `_check_uploads`."""
        while not enough() and self._uploads and not self._stopped:
            await asyncio.wait(set(self._uploads), return_when=asyncio.FIRST_COMPLETED)
        self._check_uploads()

    async def _send_changes(self, sharing: Sharing, changes: Sequence[Change]) -> None:
        """Send changes in bulks; when a bulk is refused, one by one, and what is refused then is written down."""
        wanted = await self._missing(changes)
        if not wanted:
            return
        try:
            await self._send_bulk(sharing, wanted)
        except Refused as refusal:
            if len(wanted) == 1:
                await self._write_down(tracking_id(wanted[0]), refusal.detail)
                return
            for change in outbox.in_order(wanted):
                try:
                    await self._send_bulk(sharing, [change])
                except Refused as alone:
                    await self._write_down(tracking_id(change), alone.detail)
        self.state.moved_on = True

    async def _missing(self, changes: Sequence[Change]) -> list[Change]:
        """Leave out what the member says that it has; removals alone are not asked about (spec/05 §9 step 4)."""
        if all(change.removed for change in changes) or self.state.phase != "steady":
            return list(changes)
        asked: dict[str, list[str]] = {}
        for change in changes:
            asked.setdefault(wire_key(change), []).append(change.rev)
        missing = decoded(await self._call("POST", "/_revs_diff", asked))
        if not isinstance(missing, dict):
            return list(changes)
        return [c for c in changes if (c.removed and c.doctype == outbox.FILES) or is_missing(missing, c)]

    async def _send_bulk(self, sharing: Sharing, changes: Sequence[Change]) -> None:
        await self._call("POST", "/_bulk_docs", outbox.by_doctype(outbox.in_order(changes)), seconds=60.0)
        self.state.succeeded(self.instance.env.clock.timestamp())
        gone = [change for change in changes if change.removed and change.doctype == outbox.FILES]
        if gone and not sharing.owner:
            await self.instance.store.write(lambda tx: settle_removals(tx, self.sharing_id, gone))

    def _start_upload(self, sharing: Sharing, file: FileToSend, progress: Progress) -> None:
        """Let a file go beside the others; the changes of one file go one after the other."""
        key = f"{outbox.FILES}/{file.id}"
        if key in progress.open:
            progress.again.add(key)
            return
        progress.open[key] = file.seq
        task = asyncio.create_task(self._upload_until_still(sharing, file, progress, key))
        self._uploads.add(task)
        task.add_done_callback(self._upload_ended)

    def _upload_ended(self, task: asyncio.Task[None]) -> None:
        """Forget an upload; a fault in it is one of the sender."""
        self._uploads.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault
            self.wake()

    async def _upload_until_still(self, sharing: Sharing, file: FileToSend, progress: Progress, key: str) -> None:
        try:
            while True:
                lane = self._large if file.content is not None and file.content.size > LARGE else self._small
                async with lane:
                    await self._upload(sharing, file)
                if key not in progress.again:
                    break
                progress.again.discard(key)
                again = await self._read_one(sharing, key)
                if not again.files:
                    break
                file = again.files[0]
            self.state.moved_on = True
            del progress.open[key]
        except Refused as refusal:
            await self._write_down(key, refusal.detail)
            progress.again.discard(key)
            del progress.open[key]
        except UpstreamFailed as trouble:
            self._trouble = trouble
        finally:
            self.wake()

    async def _upload(self, sharing: Sharing, file: FileToSend) -> None:
        """Metadata, then content if it is wanted (spec/05 §10). Raises Refused, UpstreamFailed."""
        sender = quote(self.instance.domain, safe="")
        path = f"/io.cozy.files/{quote(str(file.document['_id']), safe='')}/metadata?from={sender}"
        response = await self._call("PUT", path, file.document)
        if response.status == 204:
            await self._taken(f"{outbox.FILES}/{file.id}")
            return
        answer = decoded(response)
        upload_key = answer.get("key") if isinstance(answer, dict) else None
        if not isinstance(upload_key, str) or file.content is None:
            raise Refused(response)
        body = await self._body_of(file.content)
        if body is None:
            return
        response = await self.instance.peers.authorized(
            self.link,
            "PUT",
            f"/sharings/{self.sharing_id}/io.cozy.files/{quote(upload_key, safe='')}?from={sender}",
            headers={"Content-Type": file.mime or "application/octet-stream", "Accept": JSON},
            body=body,
            timeout=TRANSFER if file.content.size > LARGE else SMALL_TRANSFER,
            refresh=False,
        )
        self._judge(response)
        await self._taken(f"{outbox.FILES}/{file.id}")

    async def _body_of(self, content: Content) -> bytes | Callable[[], AsyncIterator[bytes]] | None:
        """The bytes of a content; None when it was replaced in the meantime: the newer state is next in the feed."""
        if content.size > INLINE_BYTES:
            return lambda: self.instance.contents.read(content)
        return await self.instance.store.read(lambda view: view.content_bytes(content.sha256))

    async def _call(self, method: str, path: str, body: object, *, seconds: float = 10.0) -> PeerResponse:
        """One exchange in JSON. Raises Refused for a 4xx or 5xx about the document, UpstreamFailed for the server."""
        response = await self.instance.peers.authorized(
            self.link,
            method,
            f"/sharings/{self.sharing_id}{path}",
            headers={"Accept": JSON, "Content-Type": JSON},
            body=msgspec.json.encode(body),
            timeout=seconds,
        )
        self._judge(response)
        return response

    def _judge(self, response: PeerResponse) -> None:
        if response.status in UNREACHABLE:
            raise UpstreamFailed(f"the server of the member answered {response.status}")
        if response.status >= 400:
            raise Refused(response)

    # -- what could not be sent

    async def _write_down(self, key: str, why: str) -> None:
        """Remember a document that was refused, to try it again by itself."""
        env = self.instance.env
        self._log.info("document_refused", document=key, reason=why)
        self.state.failed(env.clock.timestamp(), why)

        def change(tx: Writer) -> None:
            old = tx.record(self.kind, key)
            attempts = Retry.of(old).attempts if old else 0
            due = env.clock.now().timestamp() + backoff.delay(attempts, env.random.uniform())
            tx.put_record(self.kind, key, msgspec.to_builtins(Retry(attempts + 1, why)), due=due)

        await self.instance.store.write(change)

    async def _taken(self, key: str) -> None:
        """A document was taken: it needs no further try."""
        self.state.succeeded(self.instance.env.clock.timestamp())
        if await self.instance.store.read(lambda view: view.record(self.kind, key) is not None):
            await self.instance.store.write(lambda tx: tx.delete_record(self.kind, key))

    async def _retries_due(self, sharing: Sharing, progress: Progress) -> bool:
        """Start again what is due; whether there was any."""
        now = self.instance.env.clock.now().timestamp()
        due = await self.instance.store.read(lambda view: view.records_due(self.kind, now, limit=WINDOW))
        for record in due:
            if record.id in progress.open:
                continue
            page = await self._read_one(sharing, record.id)
            changes = [*page.bulk, *page.removals]
            if not changes and not page.files:
                await self._taken(record.id)
            for change in changes:
                await self._retry_change(sharing, record, change)
            for file in page.files:
                self._start_upload(sharing, file, progress)
        return any(record.id not in progress.open for record in due)

    async def _retry_change(self, sharing: Sharing, record: Record, change: Change) -> None:
        try:
            await self._send_bulk(sharing, [change])
            await self._taken(record.id)
        except Refused as refusal:
            await self._write_down(record.id, refusal.detail)

    async def _read_one(self, sharing: Sharing, id: str) -> Page:
        key = self._key(sharing)
        return await self.instance.store.read(lambda view: outbox.read_one(view, sharing, self.index, key, id))

    # -- rest

    async def _wait(self, progress: Progress) -> None:
        """Sleep until something changes, an upload ends, or a retry is due."""
        due = await self.instance.store.read(lambda view: view.next_due(self.kind))
        clock = self.instance.env.clock
        timeout = None if due is None else due - clock.now().timestamp()
        if timeout is not None and timeout <= 0:  # what is due is on its way already: look again in a while
            timeout = 1.0 if progress.open else 0.001
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._woken.wait()

    async def _rest(self, trouble: UpstreamFailed, failures: int) -> None:
        """The member's server is out of reach: wait for its recovery, or for the next try."""
        env = self.instance.env
        delay = backoff.delay(failures, env.random.uniform(), ceiling=LONGEST_REST)
        if isinstance(trouble, PeerBusy | PeerCircuitOpen):
            delay = max(delay, trouble.retry_after)
        self.state.failed(env.clock.timestamp(), trouble.detail)
        self.state.next_try_at = env.clock.now().timestamp() + delay
        self._log.info("member_unreachable", error=trouble.detail, next_try_in=round(delay, 1))
        await self._keep_state()
        self._recovered.clear()
        end = self.instance.peers.on_recovery(self.link.instance, self.recovered) if self._link else None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._recovered.wait()
        finally:
            if end is not None:
                end()

    async def _drop_uploads(self) -> None:
        """End what is on its way; it is not behind the checkpoint yet, so it will be sent again."""
        running = list(self._uploads)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # -- durable state

    async def _keep_checkpoint(self, progress: Progress) -> None:
        """Move the checkpoint to where everything is done."""
        name, done = tracking.checkpoint_of(self.sharing_id, self.index), progress.done
        if await self.instance.store.read(lambda view: view.checkpoint(name)) < done:
            await self.instance.store.write(lambda tx: self._keep_progress(tx, name, done))

    def _keep_progress(self, tx: Writer, name: str, done: int) -> None:
        tx.set_checkpoint(name, done)
        save_state(tx, self.sharing_id, self.index, self.state)

    async def _caught_up(self, sharing: Sharing) -> None:
        """Everything is with the member: the first copy is over, and that is said (spec/05 §8.2 step 6)."""
        if self.state.phase == "steady":
            return
        if sharing.owner and sharing.files_rule() is not None:
            response = await self.instance.peers.authorized(
                self.link, "DELETE", f"/sharings/{self.sharing_id}/initial", headers={"Accept": JSON}, refresh=False
            )
            if response.status in UNREACHABLE:
                raise UpstreamFailed(f"the server of the member answered {response.status}")
        self._sent.clear()
        await self._set_phase("steady")

    async def _set_phase(self, phase: str) -> None:
        self.state.phase = phase
        await self._keep_state()

    async def _keep_state(self) -> None:
        state = self.state
        await self.instance.store.write(lambda tx: save_state(tx, self.sharing_id, self.index, state))

    async def _revoke(self, sharing: Sharing) -> None:
        """A removed document whose rule says `revoke` ends the sharing (spec/05 §19)."""
        from inglenook.sharing.revocation import end_or_leave

        env = self.instance.env
        await self.instance.store.write(lambda tx: end_or_leave(tx, env, sharing.id, locale=self.instance.locale))
        raise Ended


def settle_removals(tx: Writer, sharing_id: str, removed: Sequence[Change]) -> None:
    """The owner knows what this side has removed: if it comes again, somebody else has kept it."""
    for change in removed:
        shared = tracking.load(tx, change.doctype, change.id)
        info = shared.infos.get(sharing_id)
        if info is not None and info.get("removed") and shared.leaf == change.rev:
            info["settled"] = True
            tracking.save(tx, shared)


def wire_key(change: Change) -> str:
    """How a change is asked about."""
    return f"{change.doctype}/{change.document['_id']}"


def is_missing(answer: dict[str, Any], change: Change) -> bool:
    """Whether the answer to what is missing names a change."""
    told = answer.get(wire_key(change))
    revs = told.get("missing") if isinstance(told, dict) else None
    return change.rev in revs if isinstance(revs, list) else told is not None


def tracking_id(change: Change) -> str:
    """The id of the tracking record of a change."""
    return f"{change.doctype}/{change.id}"


def decoded(response: PeerResponse) -> Any:
    """The body of an answer; None when it is not JSON, as if nothing had been said."""
    try:
        return response.json()
    except PeerGarbage:
        return None


def reason(response: PeerResponse) -> str:
    """What a refusal says, in one short line without anything secret."""
    body = decoded(response)
    if body is None:
        return response.body[:120].decode("utf-8", "replace").strip()
    if isinstance(body, dict):
        errors = body.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            return str(errors[0].get("detail") or errors[0].get("title") or "")[:200]
        return str(body.get("error") or body.get("reason") or "")[:200]
    return ""
