"""Discovery: an invited person tells where his server is, and is sent there (spec/04 §10)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import msgspec

from inglenook.contacts import address_book
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, Conflict, DomainError, NotFound, UpstreamFailed
from inglenook.kernel.members import WAITING, State
from inglenook.peers import addresses
from inglenook.peers.errors import PeerForbiddenAddress, PeerRefusedTokens
from inglenook.peers.transport import PeerResponse
from inglenook.sharing import bodies, documents, invitations, links, preview
from inglenook.sharing.answer import INVALID_URL
from inglenook.sharing.documents import NO_MEMBER, WRONG_STATE, Member, Sharing
from inglenook.storage.documents.contract import Reader, Writer

REQUEST_FAILED = "The sharing request failed"
FLAT_DOMAINS = ("mycozy.cloud", "cozy.rocks")
DEFAULT_DOMAIN = "mycozy.cloud"
HOST = re.compile(r"[^\s/?#@\\<>\"'%]+\Z")


class NotAnAddress(DomainError):
    """A mail address was typed where the address of a server is needed (status 412 with the form)."""


class InvalidAddress(BadRequest):
    """What was typed is no address of a server."""

    def __init__(self) -> None:
        super().__init__(INVALID_URL)


class RequestFailed(BadRequest):
    """The server at the typed address did not take the request: it is away, is no Cozy, or has no such instance."""

    def __init__(self) -> None:
        super().__init__(REQUEST_FAILED)


class OwnerAway(RequestFailed):
    """The server of the owner, which has to register the address, does not answer: it may well be right."""


class AddressRefused(InvalidAddress):
    """The server of the owner has not taken the address; `said` are its words."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self.said = said


@dataclass(frozen=True, slots=True)
class Invitee:
    """The member who came with a link: his place, and the state to go on with."""

    sharing: Sharing
    index: int
    state: str

    @property
    def member(self) -> Member:
        """The member."""
        return self.sharing.members[self.index]

    @property
    def waiting(self) -> bool:
        """Whether the invitation can still be answered."""
        return self.member.status in WAITING


def find_invitee(view: Reader, instance: Instance, sharing_id: str, state: str, code: str) -> Invitee:
    """The member of a link on the owner's server: by the code, else by the state.

    Raises DocumentNotFound, NotFound (nobody, or revoked), BadRequest (a member without state)."""
    sharing = documents.load(view, sharing_id)
    index = preview.member_of_code(view, instance, sharing, code) if code else sharing.member_of_state(state)
    if index is None or sharing.members[index].status == State.REVOKED:
        raise NotFound(NO_MEMBER)
    own = sharing.credentials[index - 1].state
    if not own:
        raise BadRequest(WRONG_STATE)
    return Invitee(sharing, index, state if state and not code else own)


# -- addresses


def normal_address(typed: str, domain: str = "") -> str:
    """The origin of the server that somebody means by what he typed (spec/04 §10.2).

    Raises NotAnAddress for a mail address, InvalidAddress for nothing that could be a server."""
    if "@" in typed:
        raise NotAnAddress(INVALID_URL)
    address = typed.strip().removesuffix(".")
    if not address:
        raise InvalidAddress
    if not address.startswith(("http://", "https://")):
        address = f"https://{address}"
    domain = domain.strip().lower().removeprefix(".")
    if domain and "." not in address:
        address = f"{address.rstrip('/')}.{'mycozy.cloud' if domain == 'mycosy.cloud' else domain}"
    try:
        parts = urlsplit(address)
        host = parts.netloc.lower()
        origin = addresses.origin_of(f"{parts.scheme}://{host}")
    except (ValueError, PeerForbiddenAddress) as error:
        raise InvalidAddress from error
    if not HOST.match(host):
        raise InvalidAddress
    label, dot, rest = host.partition(".")
    if dot and any(rest == flat or rest.endswith(f".{flat}") for flat in FLAT_DOMAINS) and "-" in label:
        return f"{parts.scheme}://{label.partition('-')[0]}.{rest}"
    return origin


def prefilled(member: Member | None, default_domain: str) -> tuple[str, str]:
    """What the form shows before anything is typed: the first label (or the whole address) and the domain."""
    origin = documents.origin_of(member.instance) if member is not None else ""
    if not origin:
        return "", default_domain
    if origin.startswith("http://"):
        return origin, ""
    label, _, rest = origin.removeprefix("https://").partition(".")
    return label, rest


# -- on the owner


async def register(instance: Instance, invitee: Invitee, address: str) -> str:
    """Send the request to the server of an invited person, and remember where it is (spec/04 §10.3); gives the
    address, which is another one when he has moved.

    Raises Conflict (accepted already), NotFound, InvalidAddress, RequestFailed."""
    sharing, index = invitee.sharing, invitee.index
    sharing.require_owner()
    if invitee.member.status == State.READY:
        raise documents.already_accepted()
    if not invitee.waiting:
        raise NotFound(NO_MEMBER)
    if documents.same_instance(address, instance.origin):
        raise RequestFailed
    try:
        status, where = await invitations.put_request(instance, sharing, index, {"interactive": "true"}, address)
    except (UpstreamFailed, BadRequest) as error:
        raise RequestFailed from error
    if status == 409:
        raise documents.already_accepted()
    if not 200 <= status < 300:
        raise RequestFailed

    def keep(tx: Writer) -> None:
        current = documents.load(tx, sharing.id)
        member = current.members[index]
        if member.status == State.READY:
            raise documents.already_accepted()
        if member.status not in WAITING:
            raise NotFound(NO_MEMBER)
        member.instance = where
        documents.save(tx, current)

    await instance.store.write(keep)
    return where


async def discover(instance: Instance, invitee: Invitee, address: str, shortcut: str) -> str:
    """Register an address that was typed; gives the page of that server to go to. Raises as `register`."""
    where = await register(instance, invitee, address)
    email = invitee.member.email
    await instance.store.write(lambda tx: address_book.add_instance(tx, email, where))
    return authorize_url(where, invitee.sharing.id, invitee.state, shortcut)


def authorize_url(address: str, sharing_id: str, state: str, shortcut: str = "") -> str:
    """The page where the invited person agrees, on his own server (spec/04 §10.4)."""
    query = {"sharing_id": sharing_id, "state": state, **({"shortcut": shortcut} if shortcut else {})}
    return f"{documents.origin_of(address)}/auth/authorize/sharing?{urlencode(query)}"


# -- on a recipient of an open sharing, for people whom he has invited


class Redirect(msgspec.Struct):
    """What the owner's server answers to the JSON form."""

    redirect: str
    email: str = ""


async def forward(instance: Instance, sharing: Sharing, state: str, address: str, shortcut: str) -> str:
    """Let the owner's server register the address; gives the page to go to.

    Raises AddressRefused (by the owner's server), NotFound (an unknown state, or the owner's server knows us no more),
    BadRequest (we take no part), OwnerAway, RequestFailed."""
    form = {"state": state, "url": address, "shortcut": shortcut}
    try:
        response = await instance.peers.authorized(
            links.peer_link(instance, sharing, 0),
            "POST",
            f"/sharings/{sharing.id}/discovery",
            headers={"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )
    except PeerRefusedTokens as error:
        raise NotFound(NO_MEMBER) from error
    except UpstreamFailed as error:
        raise OwnerAway from error
    if response.status == 404:
        raise NotFound(NO_MEMBER)
    if response.status >= 500 or response.status == 429:
        raise OwnerAway
    if not response.ok:
        raise AddressRefused(_words(response))
    try:
        answer = bodies.decode(response.body, Redirect)
    except BadRequest as error:
        raise RequestFailed from error
    if not answer.redirect.startswith(("http://", "https://")):
        raise RequestFailed
    if answer.email:
        await instance.store.write(lambda tx: address_book.add_instance(tx, answer.email, address))
    return answer.redirect


def refused_because_accepted(error: DomainError) -> bool:
    """Whether an error says that the invitation was answered already."""
    said = error.said if isinstance(error, AddressRefused) else error.detail if isinstance(error, Conflict) else ""
    return said == documents.ALREADY_ACCEPTED


class _Refusal(msgspec.Struct):
    error: str = ""


def _words(response: PeerResponse) -> str:
    try:
        return bodies.decode(response.body, _Refusal).error
    except BadRequest:
        return ""
