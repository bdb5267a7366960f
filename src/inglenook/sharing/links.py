"""The line to a member's server: where it is, by which tokens, and how new ones are kept (spec/04 §14).

Tokens are refreshed by `peers`; what it learns on the way (new tokens, a new address) comes back through `save` and
is written in the sharing document, unless the credentials were replaced in the meantime.
"""

from __future__ import annotations

from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest
from inglenook.peers.peers import PeerLink, TokensChanged
from inglenook.sharing import documents
from inglenook.sharing.documents import WRONG_STATE, Sharing
from inglenook.storage.documents.contract import Writer


def peer_link(instance: Instance, sharing: Sharing, index: int) -> PeerLink:
    """The line to the member at an index (0: the owner). Raises BadRequest when we hold no credentials for it."""
    credentials = sharing.credentials_for(index)
    where = documents.origin_of(sharing.member(index).instance)
    if credentials is None or not where or credentials.client is None or credentials.access_token is None:
        raise BadRequest(WRONG_STATE)
    client_id = credentials.client.client_id

    async def keep(changed: TokensChanged) -> None:
        await instance.store.write(lambda tx: keep_tokens(tx, sharing.id, index, client_id, changed))

    return PeerLink(
        instance=where,
        access_token=credentials.access_token.access_token,
        refresh_token=credentials.access_token.refresh_token,
        client_id=client_id,
        client_secret=credentials.client.client_secret,
        save=keep,
    )


def keep_tokens(tx: Writer, sharing_id: str, index: int, client_id: str, changed: TokensChanged) -> None:
    """Write what a call taught us, as long as the member still has the credentials that the call used."""
    sharing = documents.get(tx, sharing_id)
    credentials = sharing.credentials_for(index) if sharing is not None else None
    if sharing is None or credentials is None or credentials.client is None or credentials.access_token is None:
        return
    if credentials.client.client_id != client_id:
        return
    credentials.access_token.access_token = changed.access_token
    credentials.access_token.refresh_token = changed.refresh_token
    sharing.members[index].instance = changed.instance
    documents.save(tx, sharing)
