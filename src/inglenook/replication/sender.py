"""What sends the changes of one sharing to one member (spec/05 §8–§10, §20).

A sender follows the feed of its sharing behind a durable checkpoint. In the plain protocol folders, documents and
removals go in bulks, one after the other, and files side by side (`replication.uploads`); a server of the same make
gets batches of all of them (`replication.batches`). While much is waiting, the newest changes go first. A document that
fails is written down with its reason and tried again by itself, and stops no other; a member that cannot be reached
stops its own sender only, until a probe or a call from there tells that it is back.

Invariants: the checkpoint never passes a change that was neither taken by the member nor written down as a retry;
everything sent may be sent again. After a crash the sender starts at its checkpoint, and what the member has
already is answered as an echo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import UpstreamFailed
from inglenook.replication import batches, outbox
from inglenook.replication.batches import Batches, items_of, settle_removals
from inglenook.replication.line import Ended, Line, Refused, Replaced, decoded
from inglenook.replication.outbox import Change, FileToSend, Page
from inglenook.replication.progress import OnTheWay, Progress, Suspect
from inglenook.replication.uploads import LARGE, Uploads, key_of, read_one
from inglenook.sharing import documents, revocation, rights, tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader, Record, Writer

PAGE = 400
WINDOW = 64
"""Files on their way by themselves, at most."""

BATCH_PAGE = 100
"""Changes read at a time for batches: reading more would keep others waiting."""

BATCH_WINDOW = 512
OFTEN = 2
"""So often must the server fail while a document is on its way, until it is set aside."""

NEWEST = 32
"""Of the newest changes, so many go at a time past what waits."""


class Sender:
    """Sends to one member. `run` goes on until it is cancelled or the member is gone."""

    def __init__(self, instance: Instance, sharing_id: str, index: int) -> None:
        self.instance = instance
        self.sharing_id = sharing_id
        self.index = index
        self.line = Line(instance, sharing_id, index)
        self._sent: dict[str, str] = {}
        self._suspects: dict[str, Suspect] = {}
        self._cut = False
        """Whether the last bulk had no answer, of a server that answers otherwise."""
        self._begin(0)
        self._woken = asyncio.Event()
        self._recovered = asyncio.Event()
        self._until: int | None = None
        self.replaced = False
        """Whether the run has ended because somebody else has the place of the member now."""

    def _begin(self, since: int) -> None:
        """Start anew at a place in the feed."""
        self.progress = Progress(since, sent=self._sent, suspects=self._suspects)
        self.on_the_way = OnTheWay(self.wake)
        self.uploads = Uploads(self.line, self.progress, self.on_the_way)
        self.batches = Batches(self.line, self.progress, self.on_the_way, self.uploads)

    def wake(self) -> None:
        """Something may have changed."""
        self._woken.set()

    def finish(self, seq: int | None) -> None:
        """Send what has happened up to a sequence, and end: this side may write no longer (spec/05 §1). None: go on."""
        self._until = seq if seq is None or self._until is None else min(seq, self._until)
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
            await self.line.load()
            await self._call_first()
            while True:
                try:
                    if failures:
                        await self.line.knock()
                        self.line.succeeded()
                        await self.line.keep_state()
                        await self._set_suspects_aside()
                    await self._follow()
                    failures = 0
                except UpstreamFailed as trouble:
                    await self.on_the_way.drop()
                    failures = 0 if self.line.state.moved_on else failures
                    await self._rest(trouble, failures)
                    failures += 1
                    await self._give_up_whom_nothing_reaches(await self.line.sharing())
        except Ended as end:
            self.replaced = isinstance(end, Replaced)
        finally:
            await self.on_the_way.drop()

    async def _follow(self) -> None:
        """Read and send until the peer fails (UpstreamFailed) or the member is gone (Ended)."""
        since = await self.instance.store.read(
            lambda view: view.checkpoint(tracking.checkpoint_of(self.sharing_id, self.index))
        )
        self._begin(since)
        self.line.state.moved_on = False
        sharing = await self.line.sharing()
        if sharing.owner and self.line.state.phase == "folders":
            await self._greet()
            await self._send_folders(sharing)
        while True:
            self._woken.clear()
            self.on_the_way.check()
            sharing = await self.line.sharing()
            await self._send_newest(sharing)
            if self._has_room and await self._send_next(sharing):
                continue
            progress = self.progress
            if self._until is not None and progress.done >= min(self._until, progress.cursor):
                raise Ended
            if await self._retries_due(sharing):
                continue
            await self._keep_checkpoint()
            if not progress.open:
                await self._caught_up(sharing)
            await self._give_up_whom_nothing_reaches(sharing)
            await self._wait()

    @property
    def _has_room(self) -> bool:
        """Whether more may be sent beside what is on its way."""
        if self.batches.possible:
            return self.batches.running < batches.AT_ONCE and len(self.progress.open) < BATCH_WINDOW
        return len(self.progress.open) < WINDOW

    async def _set_suspects_aside(self) -> None:
        """The server answers, but has failed at the same documents again and again: they go by themselves, later."""
        for key, suspect in list(self._suspects.items()):
            if suspect.times >= OFTEN:
                del self._suspects[key]
                self._sent[key] = suspect.rev
                await self.line.write_down(key, suspect.why)

    async def _call_first(self) -> None:
        """After a start, call each server once: it learns that we are back, and we what it can do."""
        address = (await self.line.sharing()).members[self.index].instance
        if self.instance.peers.state(address) is None:
            with suppress(UpstreamFailed):
                await self.line.knock()

    async def _greet(self) -> None:
        """Wait until the member has stored what came with the answer: a server of the same make answers when it is
        ready, any other one has a second for it (spec/04 trap 23)."""
        if not self.batches.possible:
            await asyncio.sleep(1.0)
            return
        for pause in (0.0, 0.1, 0.2, 0.4, 0.8):
            await asyncio.sleep(pause)
            with suppress(Refused):
                await self.line.call("POST", "/_revs_diff", {})
                return

    async def _read(self, sharing: Sharing, since: int, limit: int) -> Page:
        key, sent = key_of(sharing, self.index), self._sent

        def read(view: Reader) -> Page:
            page = outbox.read_page(view, sharing, self.index, key, since, limit, self._bound(view, sharing))
            page.bulk = [change for change in page.bulk if sent.get(tracking_id(change)) != change.rev]
            page.files = [file for file in page.files if sent.get(file_key(file)) != file.rev]
            return page

        return await self.instance.store.read(read)

    def _bound(self, view: Reader, sharing: Sharing) -> int | None:
        """Up to where this side sends, when it may write no longer: what it changes afterwards stays here."""
        if self._until is None and not sharing.owner:
            document = view.get(documents.DOCTYPE, sharing.id)
            if document is None:
                return None
            current = sharing if document.rev == sharing.rev else documents.of_document(document)
            if rights.i_am_read_only(current):
                return document.seq
        return self._until

    # -- sending

    async def _send_folders(self, sharing: Sharing) -> None:
        """The first copy begins with all folders (spec/05 §21.1); a small one in the plain protocol is one bulk."""
        if not self.batches.possible and not (await self._read(sharing, self.progress.cursor, PAGE)).more:
            await self._set_phase("files")
            return
        key = key_of(sharing, self.index)
        folders = await self.instance.store.scan(lambda view: outbox.folders_first(view, sharing, key))
        for start in range(0, len(folders), PAGE):
            batch = folders[start : start + PAGE]
            if not (self.batches.possible and await self._send_batch(sharing, batch, (), ())):
                await self._send_changes(sharing, batch)
            self._sent.update({tracking_id(folder): folder.rev for folder in batch})
        await self._set_phase("files")

    async def _send_next(self, sharing: Sharing) -> bool:
        """Send the next page of the feed; False when there is none."""
        progress = self.progress
        page = await self._read(sharing, progress.cursor, BATCH_PAGE if self.batches.possible else PAGE)
        if page.last <= progress.cursor:
            progress.fresh = 0
            return False
        if page.revoked:
            await self._revoke(sharing)
        if page.more and progress.fresh < page.last:
            progress.fresh = page.newest
        if self.batches.possible:
            await self._send_page_in_batches(sharing, page)
        else:
            await self._send_page(sharing, page)
        return True

    async def _send_newest(self, sharing: Sharing) -> None:
        """While much is waiting, let the newest changes go past it; removals keep their place behind all others."""
        progress = self.progress
        if progress.fresh <= progress.cursor or not self.batches.possible:
            return
        page = await self._read(sharing, progress.fresh, NEWEST)
        progress.fresh = page.last
        if not page.revoked and (page.bulk or page.files):
            self.batches.start(sharing, page.files, [change for change in page.bulk if not change.removed])

    async def _send_page_in_batches(self, sharing: Sharing, page: Page) -> None:
        """Files alone go beside the batches that are on their way already; anything else waits for them, since what
        lies in a folder comes behind it, and a removal behind what has left the folder (spec/05 §21.9)."""
        if not page.bulk and not page.removals:
            self.batches.start(sharing, page.files)
            self.progress.cursor = page.last
            return
        progress, on_the_way = self.progress, self.on_the_way
        await on_the_way.over(lambda: not (progress.open if page.removals else self.batches.running))
        files = [file for file in page.files if file_key(file) not in progress.open]
        progress.again.update(file_key(file) for file in page.files if file_key(file) in progress.open)
        alone = [file for file in files if file.content is not None and file.content.size > LARGE]
        removals = [] if alone else page.removals
        if not await self._send_batch(sharing, page.bulk, files, removals):
            await self._send_page(sharing, page)
            return
        if page.removals and not removals:
            await on_the_way.over(lambda: not progress.open)
            if not await self._send_batch(sharing, (), (), page.removals):
                await self._send_changes(sharing, page.removals)
        progress.cursor = page.last
        await self._keep_checkpoint()

    async def _send_batch(
        self, sharing: Sharing, changes: Sequence[Change], files: Sequence[FileToSend], removals: Sequence[Change]
    ) -> bool:
        """Send a batch and wait for its end; False when the member's server takes no batches after all."""
        batch = items_of(changes, files, removals)
        try:
            alone = await self.batches.send(sharing, batch)
        except Refused:
            return False
        for one in alone:
            self.uploads.start(sharing, one.file, in_chunks=one.in_chunks)
        self.line.state.moved_on = True
        return True

    async def _send_page(self, sharing: Sharing, page: Page) -> None:
        """Send one page in the plain protocol: folders and documents, files, removals; then the cursor moves on."""
        progress, on_the_way = self.progress, self.on_the_way
        bulk, removals = list(page.bulk), list(page.removals)
        # an upload that is on its way must not arrive behind the removal of its file
        await on_the_way.over(lambda: not any(tracking_id(gone) in progress.open for gone in removals))
        await asyncio.sleep(progress.settling(map(tracking_id, removals), self.instance.env.clock.monotonic()))
        folders_go = any(change.depth == 0 for change in removals)
        moved = [file for file in page.files if not file.created]
        if not (folders_go and moved):
            bulk, removals = [*bulk, *removals], []
        listed = [outbox.listed(file) for file in page.files]
        if bulk or listed:
            await self._send_changes(sharing, bulk, listed)
        for file in page.files:
            self.uploads.start(sharing, file)
        progress.cursor = page.last
        if removals:
            # a file that has left a folder must be gone from it before the folder goes (spec/05 §21.9)
            await on_the_way.over(lambda: not progress.open)
            await self._send_changes(sharing, removals)
        await on_the_way.over(lambda: len(progress.open) < WINDOW)
        if not on_the_way.stopped and len(page.bulk) + len(page.files) >= PAGE // 2:
            await self._keep_checkpoint()

    async def _send_changes(self, sharing: Sharing, changes: Sequence[Change], listed: Sequence[Change] = ()) -> None:
        """Send changes in bulks; when a bulk is refused, one by one, and what is refused then is written down.
        `listed` are files, which are told of in bulks as well, and taken by their uploads alone (spec/05 §9)."""
        missing = await self._missing([*changes, *listed])
        told = set(map(id, listed))
        wanted = [change for change in missing if id(change) not in told]
        try:
            await self._send_bulk(sharing, missing)
            self._cut = False
        except Refused as refusal:
            if not refusal.status and not self._cut:
                # what is in it need not be the reason; and by now it may be stale, and must not be sent as it is
                self._cut = True
                raise UpstreamFailed(refusal.detail) from refusal
            if len(missing) == len(wanted) == 1:
                await self.line.write_down(tracking_id(wanted[0]), refusal.detail, refusal.status)
                return
            for change in outbox.in_order(wanted):
                await self._send_alone(sharing, tracking_id(change))
        self.line.state.moved_on = True

    async def _send_alone(self, sharing: Sharing, key: str) -> None:
        """Send a document of a refused bulk as it is now, or write down why it is not taken."""
        page = await read_one(self.line, sharing, key)
        for change in (*page.bulk, *page.removals):
            try:
                await self._send_bulk(sharing, [change])
            except Refused as refusal:
                await self.line.write_down(key, refusal.detail, refusal.status)

    async def _missing(self, changes: Sequence[Change]) -> list[Change]:
        """Leave out what the member says that it has; removals alone are not asked about (spec/05 §9 step 4)."""
        if all(change.removed for change in changes) or self.line.state.phase != "steady":
            return list(changes)
        asked: dict[str, list[str]] = {}
        for change in changes:
            asked.setdefault(wire_key(change), []).append(change.rev)
        try:
            missing = decoded(await self.line.about_one(self.line.call("POST", "/_revs_diff", asked)))
        except Refused:
            return list(changes)  # sending them tells why, for each of them
        if not isinstance(missing, dict):
            return list(changes)
        return [c for c in changes if (c.removed and c.doctype == outbox.FILES) or is_missing(missing, c)]

    async def _send_bulk(self, sharing: Sharing, changes: Sequence[Change]) -> None:
        body = outbox.by_doctype(outbox.in_order(changes))
        await self.line.about_one(self.line.call("POST", "/_bulk_docs", body, seconds=60.0))
        self.line.succeeded()
        gone = [change for change in changes if change.removed and change.doctype == outbox.FILES]
        if gone and not sharing.owner:
            await self.instance.store.write(lambda tx: settle_removals(tx, self.sharing_id, gone, self.line.now))

    async def _revoke(self, sharing: Sharing) -> None:
        """A removed document whose rule says `revoke` ends the sharing (spec/05 §19)."""
        env, locale = self.instance.env, self.instance.locale
        await self.instance.store.write(lambda tx: revocation.end_or_leave(tx, env, sharing.id, locale=locale))
        raise Ended

    async def _give_up_whom_nothing_reaches(self, sharing: Sharing) -> None:
        """A member whose server has not known the sharing for long is out (spec/08 §10.5). Raises Ended."""
        if not sharing.owner or not await self.line.is_shut(moved=bool(sharing.moved_from)):
            return
        instance, id, index = self.instance, self.sharing_id, self.index

        def lose(tx: Writer) -> None:
            if self.line.is_current(tx):
                revocation.lose_member(tx, instance, documents.load(tx, id), index)

        await instance.store.write(lose)
        raise Ended

    # -- what could not be sent before

    async def _retries_due(self, sharing: Sharing) -> bool:
        """Start again what is due; whether there was any."""
        due = await self.line.due(WINDOW)
        progress = self.progress
        for record in due:
            if record.id in progress.open:
                continue
            page = await read_one(self.line, sharing, record.id)
            changes = [*page.bulk, *page.removals]
            if not changes and not page.files:
                await self.line.taken(record.id)
            for change in changes:
                await self._retry_change(sharing, record, change)
            if self.batches.possible:
                self.batches.start(sharing, page.files)
            else:
                for file in page.files:
                    self.uploads.start(sharing, file)
        return any(record.id not in progress.open for record in due)

    async def _retry_change(self, sharing: Sharing, record: Record, change: Change) -> None:
        try:
            await self._send_bulk(sharing, [change])
        except Refused as refusal:
            # a removal by itself is aborted when the member has the file by another sharing (spec/05 §14): it is done
            if not (change.removed and refusal.status == 400):
                await self.line.write_down(record.id, refusal.detail, refusal.status)
                return
        await self.line.taken(record.id)

    # -- rest

    async def _wait(self) -> None:
        """Sleep until something changes, an upload ends, or a retry is due."""
        timeout = await self.line.next_due()
        if timeout is not None and timeout <= 0:  # what is due is on its way already: look again in a while
            timeout = 1.0 if self.progress.open else 0.001
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._woken.wait()

    async def _rest(self, trouble: UpstreamFailed, failures: int) -> None:
        """The member's server is out of reach: wait for its recovery, or for the next try."""
        delay = await self.line.failed(trouble, failures)
        self._recovered.clear()
        line = self.line
        end = self.instance.peers.on_recovery(line.link.instance, self.recovered) if line.connected else None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._recovered.wait()
        finally:
            if end is not None:
                end()

    # -- durable state

    async def _keep_checkpoint(self) -> None:
        """Move the checkpoint to where everything is done."""
        name, done = tracking.checkpoint_of(self.sharing_id, self.index), self.progress.done
        if await self.instance.store.read(lambda view: view.checkpoint(name)) < done:
            await self.instance.store.write(lambda tx: self._keep_progress(tx, name, done))

    def _keep_progress(self, tx: Writer, name: str, done: int) -> None:
        if self.line.save_state(tx):
            tx.set_checkpoint(name, done)

    async def _caught_up(self, sharing: Sharing) -> None:
        """Everything is with the member: the first copy is over, and that is said (spec/05 §8.2 step 6)."""
        self._sent.clear()
        self._suspects.clear()
        if self.line.state.phase == "steady":
            return
        if sharing.owner and sharing.files_rule() is not None:
            with suppress(Refused):
                end = self.line.send("DELETE", "/initial", None, {}, timeout=10.0, refresh=False)
                await self.line.about_one(end)
        await self._set_phase("steady")

    async def _set_phase(self, phase: str) -> None:
        self.line.state.phase = phase
        await self.line.keep_state()


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


def file_key(file: FileToSend) -> str:
    """The id of the tracking record of a file."""
    return f"{outbox.FILES}/{file.id}"
