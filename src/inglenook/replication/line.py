"""The line to one member: calls to its server in the name of one sharing, and what is known of them (spec/05 §20)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import structlog

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, DomainError, UpstreamFailed
from inglenook.peers import backoff
from inglenook.peers.errors import PeerBusy, PeerCircuitOpen, PeerGarbage, PeerRefusedTokens, PeerUnreachable
from inglenook.peers.peers import Limits, PeerLink, PeerResponse
from inglenook.replication.link_state import LinkState, Retry, load_state, save_state
from inglenook.sharing import documents, links, tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader, Record, Writer

log = structlog.get_logger("inglenook.replication")

JSON = "application/json"
LONGEST_REST = 30.0  # seconds between two looks at a member that is away: one small request
UNREACHABLE = frozenset({502, 503, 504})
UNKNOWN = frozenset({401, 403, 404})
"""Answers, after the tokens were renewed, of a server that does not know the sharing (any more)."""

MOVED = 410

OF_THE_SERVER = (PeerCircuitOpen, PeerRefusedTokens)
"""Troubles that have nothing to do with the document whose turn it was."""

T = TypeVar("T")

SHUT_TIMES, SHUT_SECONDS = 3, 24 * 3600.0
"""So often in a row, and for so long, a server must answer like this until it is believed (spec/08 §10.5): one that is
being repaired may do so for a while."""


class Ended(Exception):
    """The sharing or the member is no longer there: nothing is to be sent any more."""


class Replaced(Ended):
    """The member went and has come again: what was known of him is over, and everything is to be sent anew."""


class Refused(DomainError):
    """The member's server has refused one document; it is tried again later. `status` is what was answered; 0 when it
    was nothing, or no answer at all, by a server that answers otherwise."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status

    @classmethod
    def by(cls, response: PeerResponse) -> Refused:
        """What an answer says."""
        return cls(f"refused with {response.status}: {reason(response)}", response.status)


class Line:
    """Calls to one member. `kind` is that of the records of what the member has refused, `cuts` counts the batches in a
    row that were not answered as a whole."""

    def __init__(self, instance: Instance, sharing_id: str, index: int) -> None:
        self.instance = instance
        self.sharing_id = sharing_id
        self.index = index
        self.kind = tracking.retry_kind(sharing_id, index)
        self.state = LinkState()
        self.log = log.bind(instance=instance.domain, sharing=sharing_id, member=index)
        self.cuts = 0
        self._link: PeerLink | None = None
        self._membership = ""
        self._knocking = asyncio.Lock()

    @property
    def link(self) -> PeerLink:
        """The credentials in use; there are some once `sharing` was asked for."""
        assert self._link is not None
        return self._link

    @property
    def now(self) -> float:
        """Unix time."""
        return self.instance.env.clock.now().timestamp()

    @property
    def connected(self) -> bool:
        """Whether there were credentials so far."""
        return self._link is not None

    async def sharing(self) -> Sharing:
        """The sharing as it is now, its credentials taken into use. Raises Ended, Replaced."""
        sharing = await self.instance.store.read(lambda view: documents.get(view, self.sharing_id))
        if sharing is None or not sharing.active or self.index >= len(sharing.members):
            raise Ended
        if sharing.owner and sharing.members[self.index].status != "ready":
            raise Ended
        try:
            link = links.peer_link(self.instance, sharing, self.index)
        except BadRequest as error:
            raise Ended from error
        membership = self._membership_in(sharing)
        if self._membership not in ("", membership):
            raise Replaced
        self._membership = membership
        # one link for all requests, so that a token is renewed once; new tokens may come for the same client
        if self._link is None or not link.is_like(self._link):
            self._link = link
        return sharing

    def is_current(self, view: Reader) -> bool:
        """Whether this is still the membership that the line was made for. What a line is about to write when its
        member goes must not be found by the line of one who comes in his place."""
        sharing = documents.get(view, self.sharing_id)
        return sharing is not None and self._membership_in(sharing) == self._membership

    def _membership_in(self, sharing: Sharing) -> str:
        credentials = sharing.credentials_for(self.index)
        return tracking.membership(self.index, credentials.xor_key if credentials is not None else b"")

    # -- exchanges

    async def call(self, method: str, path: str, body: object, *, seconds: float = 10.0) -> PeerResponse:
        """One exchange in JSON. Raises Refused for a 4xx or 5xx about the document, UpstreamFailed for the server."""
        content = msgspec.json.encode(body)
        return await self.send(method, path, content, {"Content-Type": JSON}, timeout=seconds)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | Callable[[], AsyncIterator[bytes]] | None,
        headers: dict[str, str],
        *,
        timeout: float | Limits,  # noqa: ASYNC109 -- finer than a mere deadline
        refresh: bool = True,
    ) -> PeerResponse:
        """One exchange below the sharing's address. Raises as `call`."""
        response = await self.instance.peers.authorized(
            self.link,
            method,
            f"/sharings/{self.sharing_id}{path}",
            headers={"Accept": JSON, **headers},
            body=body,
            timeout=timeout,
            refresh=refresh,
        )
        if response.status in UNREACHABLE:
            raise UpstreamFailed(f"the server of the member answered {response.status}")
        if response.status >= 400:
            raise Refused.by(response)
        return response

    async def knock(self) -> None:
        """Ask one small thing alone: a circuit lets one request try, and refuses those beside it."""
        await self.sharing()
        await self._ask_nothing()

    async def about_one(self, exchange: Awaitable[T]) -> T:
        """An exchange about a certain document. When it fails although the server answers another request, the document
        is what the server fails at: that stops no other. Raises Refused, UpstreamFailed."""
        try:
            return await exchange
        except UpstreamFailed as trouble:
            if not await self.answers_otherwise(trouble):
                raise
            cut = isinstance(trouble, PeerUnreachable)
            raise Refused("the connection was cut" if cut else trouble.detail) from trouble

    async def answers_otherwise(self, trouble: UpstreamFailed) -> bool:
        """Whether the server that has just failed at something answers a small request."""
        if isinstance(trouble, (*OF_THE_SERVER, PeerBusy)):
            return False
        async with self._knocking:
            try:
                await self._ask_nothing()
            except UpstreamFailed:
                return False
            return True

    async def _ask_nothing(self) -> None:
        with suppress(Refused):
            await self.call("POST", "/_revs_diff", {})

    async def is_shut(self, *, moved: bool = False) -> bool:
        """Whether the member's server has not known the sharing for long, and does not know it now. Only somebody who
        has taken something before is judged: of a reply that was lost, the answer comes again. Of a sharing that has
        `moved` here with its owner it is not known what was taken."""
        state, now = self.state, self.now
        if not (state.last_success_at or moved) or state.shut < SHUT_TIMES or now - state.shut_since < SHUT_SECONDS:
            return False
        try:
            await self.call("POST", "/_revs_diff", {})
        except PeerRefusedTokens:
            return True
        except Refused as refusal:
            return refusal.status in UNKNOWN
        except UpstreamFailed:
            return False
        self.succeeded()
        return False

    # -- what was refused

    async def write_down(self, key: str, why: str, status: int = 0) -> None:
        """Remember a document that was refused, to try it again by itself; `key` is the id of its tracking record,
        `status` what was answered."""
        env = self.instance.env
        if status in UNKNOWN:
            self.state.found_shut(self.now)
        self.log.info("document_refused", document=key, reason=why)
        self.state.failed(env.clock.timestamp(), why)

        def change(tx: Writer) -> None:
            if not self.is_current(tx):
                return
            old = tx.record(self.kind, key)
            attempts = Retry.of(old).attempts if old else 0
            due = self.now + backoff.delay(attempts, env.random.uniform())
            tx.put_record(self.kind, key, msgspec.to_builtins(Retry(attempts + 1, why)), due=due)
            if status in UNKNOWN:
                save_state(tx, self.sharing_id, self.index, self.state)

        await self.instance.store.write(change)

    async def taken(self, *keys: str) -> None:
        """Documents were taken: they need no further try."""
        self.succeeded()
        store = self.instance.store
        known = await store.read(lambda view: [key for key in keys if view.record(self.kind, key) is not None])
        if known:
            await store.write(lambda tx: self._forget(tx, known))

    def _forget(self, tx: Writer, keys: Sequence[str]) -> None:
        for key in keys if self.is_current(tx) else ():
            tx.delete_record(self.kind, key)

    async def due(self, limit: int) -> list[Record]:
        """What is to be tried again now."""
        now = self.now
        return await self.instance.store.read(lambda view: view.records_due(self.kind, now, limit=limit))

    async def next_due(self) -> float | None:
        """Seconds until something is to be tried again; None when nothing is."""
        due = await self.instance.store.read(lambda view: view.next_due(self.kind))
        return None if due is None else due - self.now

    # -- what is known

    def succeeded(self) -> None:
        """The member has taken something."""
        self.state.succeeded(self.instance.env.clock.timestamp())

    async def failed(self, trouble: UpstreamFailed, failures: int) -> float:
        """The member's server is out of reach for the `failures`th time in a row; gives the seconds to wait."""
        env = self.instance.env
        delay = backoff.delay(failures, env.random.uniform(), ceiling=LONGEST_REST)
        if isinstance(trouble, PeerBusy | PeerCircuitOpen):
            delay = max(delay, trouble.retry_after)
        self.state.failed(env.clock.timestamp(), trouble.detail)
        self.state.cause = ""
        if isinstance(trouble, PeerRefusedTokens):
            self.state.cause = "moved" if trouble.status == MOVED else "access_ended"
            if trouble.status in (400, *UNKNOWN):
                self.state.found_shut(self.now)
        self.state.next_try_at = self.now + delay
        self.log.info("member_unreachable", error=trouble.detail, next_try_in=round(delay, 1))
        await self.keep_state()
        return delay

    async def load(self) -> None:
        """Take up what was known before."""
        self.state = await self.instance.store.read(lambda view: load_state(view, self.sharing_id, self.index))

    async def keep_state(self) -> None:
        """Make what is known durable."""
        await self.instance.store.write(self.save_state)

    def save_state(self, tx: Writer) -> bool:
        """Store what is known; False, and nothing is stored, when the member is not the one any more of whom it is."""
        if not self.is_current(tx):
            return False
        save_state(tx, self.sharing_id, self.index, self.state)
        return True


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
