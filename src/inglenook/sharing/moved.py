"""A member's server has another address (spec/04 §20)."""

from __future__ import annotations

import msgspec

from inglenook.contacts import address_book
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest, InvalidParameter, NotFound
from inglenook.sharing import documents
from inglenook.sharing.answer import INVALID_URL
from inglenook.sharing.documents import NO_MEMBER, WRONG_STATE, AccessToken, Sharing
from inglenook.storage.documents.contract import Writer


class Moved(msgspec.Struct, kw_only=True):
    """The attributes of the notice: where the server is now, and the tokens to use with it from now on."""

    new_instance: str
    access_token: str
    refresh_token: str = ""


def parse(body: bytes) -> Moved:
    """Read a notice. Raises BadRequest, InvalidParameter when the address is none."""
    try:
        moved = msgspec.convert(jsonapi.parse_document(body).attributes, Moved)
    except msgspec.ValidationError as error:
        raise BadRequest(jsonapi.MALFORMED) from error
    where = documents.origin_of(moved.new_instance)
    if not where.startswith(("http://", "https://")) or not moved.access_token:
        raise InvalidParameter(INVALID_URL, parameter="url")
    moved.new_instance = where
    return moved


def take(tx: Writer, sharing: Sharing, client_id: str, moved: Moved) -> None:
    """Store the new address and tokens of the member who calls with one of our clients.

    Raises NotFound (nobody calls with this client), BadRequest (no credentials)."""
    index = sharing.member_of_client(client_id)
    if index is None:
        raise NotFound(NO_MEMBER)
    credentials = sharing.credentials_for(index)
    if credentials is None or credentials.client is None:
        raise BadRequest(WRONG_STATE)
    member = sharing.members[index]
    former = credentials.access_token or AccessToken()
    credentials.access_token = msgspec.structs.replace(
        former,
        access_token=moved.access_token,
        refresh_token=moved.refresh_token or former.refresh_token,
    )
    member.instance = moved.new_instance
    documents.save(tx, sharing)
    address_book.replace_instance(tx, member.email, moved.new_instance)
