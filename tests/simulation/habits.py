"""What servers of another make do that ours do not: they wait a while before they send, and they offer back what they
were sent, to whom they have it from (spec/05 §9, §10, §21).

The network asks here: `before` lets the requests of such a server wait, `after` makes it offer what it has taken.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from inglenook.kernel.errors import BadRequest
from inglenook.peers.errors import PeerTimeout, PeerUnreachable
from inglenook.peers.transport import PeerRequest, PeerResponse
from inglenook.replication.engine import receivers
from inglenook.replication.transform import FILES, outgoing
from inglenook.sharing import documents, links, tracking
from inglenook.storage.documents.contract import Content, Reader

if TYPE_CHECKING:
    from .world import Server, World

ROUTE = re.compile(r"/sharings/([^/]+)/(_revs_diff|_bulk_docs|io\.cozy\.files/([^/]+)(?:/metadata)?)")
REPLICATE, UPLOAD = 5.0, 10.0
"""Seconds that such a server waits before it sends documents, and files."""


@dataclass
class Offer:
    """What a server offers back: a document as it has it, to where it came from."""

    link: Any
    document: dict[str, Any]
    content: Content | None


class Habits:
    """The servers with such habits."""

    def __init__(self, world: World, seed: str) -> None:
        self._world = world
        self._random = random.Random(f"{seed}/habits")
        self._servers: dict[str, Server] = {}
        self._announced: dict[tuple[str, str], tuple[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, server: Server) -> None:
        """A server that is of another make."""
        self._servers[server.domain] = server

    def are_of(self, server: Server) -> bool:
        """Whether a server has them."""
        return server.domain in self._servers

    def end(self) -> None:
        """Nothing more is offered."""
        for task in self._tasks:
            task.cancel()

    async def before(self, origin: str, request: PeerRequest) -> None:
        """Let a request of such a server wait."""
        matched = ROUTE.match(urlsplit(request.url).path)
        if origin in self._servers and matched is not None:
            await asyncio.sleep(self._random.random() * (UPLOAD if matched[3] else REPLICATE))

    def after(self, origin: str, host: str, request: PeerRequest, response: PeerResponse) -> None:
        """Let such a server offer back what it has taken."""
        server, matched = self._servers.get(host), ROUTE.match(urlsplit(request.url).path)
        if server is None or matched is None or not response.ok:
            return
        for doctype, id, rev in self._taken(host, request, response, matched):
            pause = self._random.uniform(0.5, 1.0) * (UPLOAD if matched[3] else REPLICATE)
            task = asyncio.create_task(self._offer_later(pause, server, origin, matched[1], doctype, id, rev))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _taken(
        self, host: str, request: PeerRequest, response: PeerResponse, matched: re.Match[str]
    ) -> Iterator[tuple[str, str, str]]:
        if matched[2] == "_bulk_docs" and isinstance(request.body, bytes):
            for doctype, listed in msgspec.json.decode(request.body).items():
                for document in listed:
                    if not document.get("_deleted") and document.get("type") != "file":
                        yield doctype, document["_id"], document["_rev"]
        elif matched[3] and request.url.partition("?")[0].endswith("/metadata") and isinstance(request.body, bytes):
            document = msgspec.json.decode(request.body)
            if response.status == 204:
                yield FILES, document["_id"], document["_rev"]
            else:
                key = msgspec.json.decode(response.body)["key"]
                self._announced[host, key] = document["_id"], document["_rev"]
        elif matched[3] and (host, matched[3]) in self._announced:
            id, rev = self._announced[host, matched[3]]
            yield FILES, id, rev

    async def _offer_later(
        self, pause: float, server: Server, to: str, sharing_id: str, doctype: str, id: str, rev: str
    ) -> None:
        await asyncio.sleep(pause)
        network = self._world.network
        is_over = server.domain in network.gone or (server.domain, to, sharing_id) in network.forbidden
        if server.runtime is None or is_over:
            return
        instance = await server.instance()

        def look(view: Reader) -> Offer | None:
            sharing = documents.get(view, sharing_id)
            if sharing is None or not sharing.active:
                return None
            at = [i for i in receivers(sharing) if sharing.members[i].instance == f"http://{to}"]
            shared, document = tracking.load(view, doctype, id), view.get(doctype, id)
            history = view.tree(doctype, id)
            if not at or document is None or history is None or document.rev != rev or not shared.live(sharing_id):
                return None
            credentials = sharing.credentials_for(at[0])
            try:
                link = links.peer_link(instance, sharing, at[0])
            except BadRequest:
                return None
            assert credentials is not None
            rule = sharing.rules[shared.infos[sharing_id]["rule"]]
            sent = outgoing(doctype, id, history.path(rev), document.body, rule, credentials.xor_key)
            return Offer(link, sent, view.content(doctype, id))

        offer = await instance.store.read(look)
        if offer is None:
            return
        try:
            if doctype == FILES and offer.document["type"] == "file":
                await self._offer_file(server, to, sharing_id, offer)
            else:
                await self._offer_document(server, to, sharing_id, doctype, offer)
        except (PeerUnreachable, PeerTimeout):
            return

    async def _offer_document(self, server: Server, to: str, sharing_id: str, doctype: str, offer: Offer) -> None:
        id, rev = offer.document["_id"], offer.document["_rev"]
        asked = await self._send(
            server, to, "POST", f"/sharings/{sharing_id}/_revs_diff", offer, {f"{doctype}/{id}": [rev]}
        )
        missing = msgspec.json.decode(asked.body) if asked.status == 200 else {}
        body = {doctype: [offer.document]} if missing else {}
        await self._send(server, to, "POST", f"/sharings/{sharing_id}/_bulk_docs", offer, body)

    async def _offer_file(self, server: Server, to: str, sharing_id: str, offer: Offer) -> None:
        document = {k: v for k, v in offer.document.items() if k != "encrypted"}
        document = {**document, "tags": document.get("tags") or None, "metadata": document.get("metadata") or {}}
        place = f"/sharings/{sharing_id}/io.cozy.files"
        path = f"{place}/{quote(str(document['_id']), safe='')}/metadata?from={quote(server.domain, safe='')}"
        answer = await self._send(server, to, "PUT", path, offer, document)
        if answer.status != 200 or offer.content is None or server.runtime is None:
            return
        contents = (await server.instance()).contents
        data = b"".join([piece async for piece in contents.read(offer.content)])
        key = msgspec.json.decode(answer.body)["key"]
        await self._send(server, to, "PUT", f"{place}/{key}?from={quote(server.domain, safe='')}", offer, data)

    async def _send(self, server: Server, to: str, method: str, path: str, offer: Offer, body: Any) -> PeerResponse:
        headers = {"Authorization": f"Bearer {offer.link.access_token}", "Accept": "application/json"}
        headers["Content-Type"] = "text/plain" if isinstance(body, bytes) else "application/json"
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self._world.network.bring(server.domain, PeerRequest(method, f"http://{to}{path}", headers, raw))
