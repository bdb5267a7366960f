"""The life of a sharing at the fake peer's: what it answers, and what it expects of each call (spec/04, examples/04).

Strict as the rest of it: a call that differs from the specification gives faults, which fail the test.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .fake_peer import Call, Deal

Body = dict[str, Any]
JSON, JSONAPI = "application/json", "application/vnd.api+json"
FORM = "application/x-www-form-urlencoded"
ANSWER = "io.cozy.sharings.answer"
LISTED = {"status", "public_name", "email", "read_only"}
SENT_MEMBER = {"status", "name", "public_name", "email", "instance", "read_only", "only_in_groups", "groups"}
GROUP = {"id", "name", "addedBy", "read_only", "revoked"}
STATUSES = {"owner", "mail-not-sent", "pending", "seen", "ready", "revoked"}
CLIENT = {
    "client_id", "client_secret", "client_secret_expires_at", "registration_access_token", "redirect_uris",
    "client_name", "client_kind", "client_uri", "software_id",
}  # fmt: skip


@dataclass
class Taken:
    """What is answered to a call, and what was wrong with it."""

    status: int = 204
    body: Any = None
    kind: str = JSON
    faults: list[str] = field(default_factory=list[str])

    def expect(self, right: bool, what: str) -> None:
        """Note a fault unless something is right."""
        if not right:
            self.faults.append(what)


def take_without_token(call: Call, deal: Deal, rest: str) -> Taken | None:
    """Calls that carry a secret of their own."""
    if (call.method, rest) == ("POST", "/preview-url"):
        taken = checked(call, JSON, JSON)
        taken.expect("authorization" not in call.headers, f"{call}: without a token")
        taken.expect(set(call.json) == {"state"}, f"{call}: {call.raw!r}")
        taken.status, taken.body = 200, {"url": f"{origin_of(call)}/preview?sharecode=TOMZYRaODZ9Y"}
        return taken
    if (call.method, rest) == ("POST", "/refusal"):
        taken = checked(call, JSON, JSON)
        taken.expect("authorization" not in call.headers, f"{call}: without a token")
        taken.expect(set(call.json) in ({"state"}, {"sharecode"}), f"{call}: {call.raw!r}")
        deal.refused.append(call.json)
        return taken
    return None


def take(call: Call, deal: Deal, rest: str) -> Taken | None:
    """Calls with the token of the sharing; None for a route that does not exist."""
    if deal.owner:
        return take_as_owner(call, deal, rest)
    match call.method, rest:
        case "PUT", "/recipients":
            return take_list(call, deal)
        case "PUT", "/metadata":
            taken = checked(call, JSON, None)
            taken.expect(set(call.json) == {"description"}, f"{call}: {call.raw!r}")
            deal.description = call.json["description"]
            return taken
        case "POST" | "DELETE", "/recipients/self/readonly":
            return take_rights(call, deal)
        case "POST", "/recipients/self/moved":
            return take_moved(call)
        case "DELETE", "":
            deal.ended = True
            return bare(call)
        case _:
            return None


def take_as_owner(call: Call, deal: Deal, rest: str) -> Taken | None:
    """Calls of a recipient's server."""
    match call.method, rest:
        case "DELETE", "/answer":
            deal.ended = True
            return bare(call)
        case "POST", "/recipients/delegated":
            return take_delegated(call, deal)
        case "POST", "/discovery":
            return take_discovery(call, deal)
        case "POST", "/recipients/self/moved":
            return take_moved(call)
        case "POST", "/request-access":
            return checked(call, JSON, JSON)
        case _:
            pass
    if call.method in ("POST", "DELETE") and re.fullmatch(r"/recipients/[1-9]\d*/readonly", rest):
        return bare(call)
    if call.method == "DELETE" and re.fullmatch(r"/groups/\d+/[1-9]\d*", rest):
        return bare(call)
    if call.method == "POST" and (matched := re.fullmatch(r"/members/([1-9]\d*)/invitation", rest)):
        return take_invitation(call, int(matched[1]))
    return None


# -- as a recipient


def take_list(call: Call, deal: Deal) -> Taken:
    """The list of members: a bare array, and one of groups (spec/04 §17.4, trap 18)."""
    taken = checked(call, JSONAPI, JSONAPI)
    taken.expect(set(call.json) == {"data", "included"}, f"{call}: {sorted(call.json)}")
    for at, member in enumerate(call.json["data"]):
        taken.expect(set(member) <= LISTED, f"{call}: a member tells {sorted(member)}")
        taken.expect(member["status"] in STATUSES, f"{call}: status {member['status']}")
        taken.expect((member["status"] == "owner") == (at == 0), f"{call}: the owner is the first")
    for group in call.json["included"]:
        taken.expect({"name", "addedBy", "read_only"} <= set(group) <= GROUP, f"{call}: a group is {sorted(group)}")
    taken.expect(len(call.json["data"]) >= len(deal.members), f"{call}: nobody leaves the list")
    deal.members, deal.groups = call.json["data"], call.json["included"]
    return taken


def take_rights(call: Call, deal: Deal) -> Taken:
    """New credentials with other rights (spec/04 §18)."""
    taken = checked(call, JSONAPI, JSONAPI)
    data = call.json["data"]
    taken.expect((data["type"], data["id"]) == (ANSWER, deal.id), f"{call}: type and id")
    attributes = data["attributes"]
    reading = call.method == "POST"
    names = {"client", "access_token"} | (set() if reading else {"xor_key"})
    taken.expect(set(attributes) == names, f"{call}: attributes {sorted(attributes)}")
    token = attributes["access_token"]
    taken.expect(set(attributes["client"]) == CLIENT, f"{call}: client {sorted(attributes['client'])}")
    taken.expect(token["scope"] == f"io.cozy.sharings:ALL:{deal.id}", f"{call}: scope {token['scope']}")
    taken.expect("refresh_token" in token, f"{call}: refresh_token is always there")
    taken.expect(bool(token["refresh_token"]) != reading, f"{call}: no renewal for who may only read")
    if not reading:
        taken.expect(attributes["xor_key"] == base64.b64encode(deal.key).decode(), f"{call}: the same key")
    deal.read_only = reading
    deal.client, deal.theirs, deal.refresh = attributes["client"], token["access_token"], token["refresh_token"]
    return taken


# -- as an owner


def take_delegated(call: Call, deal: Deal) -> Taken:
    """People whom a recipient adds (spec/04 §17.2): the states of all are given."""
    taken = checked(call, JSONAPI, JSON)
    data = call.json["data"]
    taken.expect((data["type"], data["id"]) == ("io.cozy.sharings", deal.id), f"{call}: type and id")
    taken.expect(data["attributes"] == {} and data["meta"] == {}, f"{call}: empty attributes and meta")
    taken.expect(set(data["relationships"]) == {"recipients", "groups"}, f"{call}: relationships")
    people = data["relationships"]["recipients"]["data"] or []
    for person in people:
        taken.expect(set(person) <= SENT_MEMBER, f"{call}: a person is {sorted(person)}")
        taken.expect(person["status"] == "mail-not-sent", f"{call}: status {person['status']}")
    for group in data["relationships"]["groups"]["data"] or []:
        taken.expect({"id", "name", "addedBy", "read_only"} == set(group), f"{call}: a group is {sorted(group)}")
    keys = [person.get("instance") or person["email"] for person in people if person.get("email")]
    taken.status, taken.body = 200, {key: state_for(key) for key in keys}
    return taken


def take_invitation(call: Call, index: int) -> Taken:
    """Somebody of a group can be reached now (spec/04 §17.7)."""
    taken = checked(call, JSONAPI, JSON)
    data = call.json["data"]
    taken.expect(data["type"] == "io.cozy.sharings.members", f"{call}: type")
    member = data["attributes"]
    taken.expect(set(member) <= SENT_MEMBER, f"{call}: a member is {sorted(member)}")
    taken.expect(bool(member.get("email") or member.get("instance")), f"{call}: an address")
    key = member.get("instance") or member["email"]
    taken.status, taken.body = 200, {key: state_for(key)}
    return taken


def take_discovery(call: Call, deal: Deal) -> Taken:
    """An address that was typed at a recipient's (spec/04 §10.2)."""
    taken = checked(call, FORM, JSON)
    form = call.form
    taken.expect({"state", "url"} <= set(form) <= {"state", "url", "shortcut"}, f"{call}: {sorted(form)}")
    where = f"{form['url']}/auth/authorize/sharing?sharing_id={deal.id}&state={form['state']}"
    taken.status, taken.body = 200, {"redirect": where, "email": "carol2@example.net"}
    return taken


def state_for(key: str) -> str:
    """The state of an invitation that this peer gives to a mail address or an instance."""
    return base64.urlsafe_b64encode(key.encode())[:22].decode().rstrip("=")


# -- both


def take_moved(call: Call) -> Taken:
    """The other side has another address (spec/04 §20)."""
    taken = checked(call, JSONAPI, JSONAPI)
    attributes = call.json["data"]["attributes"]
    taken.expect(call.json["data"]["type"] == "io.cozy.sharings.moved", f"{call}: type")
    names = {"id", "new_instance", "access_token", "refresh_token"}
    taken.expect(set(attributes) == names, f"{call}: attributes {sorted(attributes)}")
    return taken


def bare(call: Call) -> Taken:
    """A call that says everything by its path."""
    taken = Taken()
    taken.expect(not call.raw, f"{call}: no body")
    return taken


def checked(call: Call, kind: str, accept: str | None) -> Taken:
    """A call with a body of a kind; `accept` is what it must accept, None: not told by the specification."""
    taken = Taken()
    sent = call.headers.get("content-type", "")
    taken.expect(sent == kind, f"{call}: Content-Type {sent}")
    taken.expect(accept is None or call.headers.get("accept") == accept, f"{call}: Accept {call.headers.get('accept')}")
    taken.expect(not call.chunked, f"{call}: a body known in advance has a Content-Length")
    return taken


def origin_of(call: Call) -> str:
    """The origin by which the peer was called."""
    return f"http://{urlsplit('//' + call.headers['host']).netloc}"
