"""What comes for a sharing to an instance that has moved, and how its new address is followed (spec/04 §20).

Calls with a token get 410 already (spec/04 §1.2). So do those that carry a secret of their own: what they would
change here, nobody would ever see. Browsers are sent to the same page at the new address.
"""

from __future__ import annotations

from urllib.parse import urlencode

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import Gone, UpstreamFailed
from inglenook.peers import links as peer_links
from inglenook.peers.transport import PeerResponse
from inglenook.sharing import documents

DETAIL = "The Cozy has been moved to a new address"


async def require_here(instance: Instance) -> None:
    """Refuse what only an instance can take that has not moved. Raises Gone with the new address."""
    if instance.doc.moved:
        settings = await instance.settings()
        raise Gone(DETAIL, code="moved", related=settings.get("moved_to"))


async def page_at_new_address(instance: Instance, path: str, query: dict[str, str]) -> str | None:
    """The same page where the instance is now: None when it is here, empty when the new address is not known."""
    if not instance.doc.moved:
        return None
    settings = await instance.settings()
    where = documents.origin_of(str(settings.get("moved_to") or ""))
    asked = urlencode({name: value for name, value in query.items() if value})
    return (where + path + (f"?{asked}" if asked else "")) if where else ""


async def request(
    instance: Instance,
    where: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str],
    body: bytes,
    patience: float = 10.0,
) -> tuple[PeerResponse, str]:
    """A call without a token, to the new address as well when a server says that the instance has moved there; gives
    the answer, and the origin that it comes from. Raises UpstreamFailed."""
    response = await instance.peers.request(method, where + path, headers=headers, body=body, timeout=patience)
    moved_to = new_origin(response)
    if not moved_to or moved_to == where:
        return response, where
    return await instance.peers.request(method, moved_to + path, headers=headers, body=body, timeout=patience), moved_to


async def has_moved_to(instance: Instance, where: str, other: str, sharing_id: str) -> bool:
    """Whether the server at an address says that it has moved to another one: a sharing that waits for its answer may
    then come from there. It is asked with a state that nobody has."""
    try:
        response = await instance.peers.request(
            "POST",
            f"{where}/sharings/{sharing_id}/preview-url",
            headers={"Accept": "application/json", "Content-Type": "application/json"},
            body=b'{"state":"-"}',
            timeout=5.0,
        )
    except UpstreamFailed:
        return False
    return documents.same_instance(new_origin(response), other)


def new_origin(response: PeerResponse) -> str:
    """Where an instance has moved, as its 410 says; empty for any other answer."""
    moved_to = documents.origin_of(peer_links.related(response) or "") if response.status == 410 else ""
    return moved_to if moved_to.startswith(("http://", "https://")) else ""
