"""Routes of permissions and of sharing by link (spec/03 §11)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request, delete, get, patch, post

from inglenook.identity import forms, links, pages, permission_documents, redirects
from inglenook.identity.caller import Caller
from inglenook.identity.link_page import link_password_page
from inglenook.identity.permission_documents import PERMISSIONS
from inglenook.identity.throttle import Guard
from inglenook.identity.translations import translate
from inglenook.kernel import jsonapi as documents
from inglenook.kernel.errors import BadRequest, DocumentNotFound, ExpiredCode, Forbidden, InvalidParameter
from inglenook.kernel.permissions import VERBS, PermissionSet, Permit, parse_rules
from inglenook.storage.documents.contract import Document, Reader, Writer
from inglenook.wire import SECRET, TOKEN, Answer, jsonapi, no_content, plain_json, read_body, redirect, wants_html

_LIMIT = 1_000_000  # bytes of a body
_MAX_ASKED = 1000
WHOLE_TYPE = "You need GET permission on whole type to list its permissions"
MEMBERS = "io.cozy.sharings.members"


@get("/permissions/self", opt={"guard": TOKEN})
async def read_own(caller: Caller) -> Answer:
    """What the caller's token opens."""
    granted = await caller.granted()
    permit = granted.permit
    if granted.document is None:
        attributes = {
            "type": permit.kind, "source_id": permit.source_id, "permissions": PermissionSet(permit.rules).to_json(),
        }  # fmt: skip
        return jsonapi(
            documents.document(documents.resource(PERMISSIONS, "", attributes, links={"self": "/permissions/"}))
        )
    included = []
    if granted.member is not None:
        included = [documents.resource(MEMBERS, "", granted.member)]
    return jsonapi(documents.document(_resource(granted.document, with_codes=False), included))


@post("/permissions", opt={"guard": TOKEN})
async def create_link(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """A new link."""
    permit = await caller.permit()
    sent = documents.parse_attributes(await read_body(request, _LIMIT))
    query = request.query_params
    names = (query.get("codes") or "").split(",") if "codes" in query else [""]
    instance = caller.instance
    body = links.link_body(
        instance, permit, sent, names=list(dict.fromkeys(names)), ttl=query.get("ttl") or "",
        tiny=forms.is_true(query.get("tiny") or ""), password_hash=await _password(caller, sent.get("password")) or "",
    )  # fmt: skip
    document = await instance.store.write(lambda tx: tx.put(PERMISSIONS, tx.new_id(), body))
    return jsonapi(documents.document(_resource(document, with_codes=True)))


@get("/permissions/{id:str}", opt={"guard": TOKEN})
async def read_permission(id: str, caller: Caller) -> Answer:
    """A permission document, for who it belongs to."""
    permit = await caller.permit()
    document = await _find(caller, id)
    same_source = bool(permit.source_id) and permit.source_id == document.body.get("source_id")
    if not (permit.is_maximal or permit.permission_id == id or same_source):
        raise Forbidden
    if permission_documents.expired(document.body, caller.instance.env.clock.now()):
        raise ExpiredCode
    return jsonapi(documents.document(_resource(document, with_codes=False)))


@patch("/permissions/{id:str}", opt={"guard": TOKEN})
async def change_permission(id: str, request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Another password, end, set of codes or rules."""
    permit = await caller.permit()
    return await _patch(request, caller, permit, lambda view: view.find(PERMISSIONS, id))


@patch("/permissions/apps/{slug:str}", opt={"guard": TOKEN})
async def change_app(slug: str, request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Other rules for an installed app."""
    permit = await caller.permit()
    return await _patch(request, caller, permit, lambda view: _of_source(view, "app", f"io.cozy.apps/{slug}"))


@patch("/permissions/konnectors/{slug:str}", opt={"guard": TOKEN})
async def change_konnector(slug: str, request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Other rules for an installed konnector."""
    permit = await caller.permit()
    return await _patch(
        request, caller, permit, lambda view: _of_source(view, "konnector", f"io.cozy.konnectors/{slug}")
    )


@delete("/permissions/{id:str}", opt={"guard": TOKEN}, status_code=200)
async def revoke_permission(id: str, caller: Caller) -> Answer:
    """The end of a link."""
    permit = await caller.permit()

    def revoke(tx: Writer) -> None:
        document = tx.find(PERMISSIONS, id)
        links.check_owned(document, permit)
        if document.body.get("type") != "share":
            raise Forbidden(links.ONLY_PARENT)
        links.revoke(tx, document)

    await caller.instance.store.write(revoke)
    return no_content()


@post("/permissions/exists", opt={"guard": TOKEN})
async def which_are_shared(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """Which of some documents are opened by a link, and for what."""
    permit = await caller.permit()
    asked = documents.parse_references(await read_body(request, _LIMIT))
    if len(asked) > _MAX_ASKED:
        raise BadRequest(f"At most {_MAX_ASKED} documents can be asked for at once")
    wanted = [(one.type, one.id) for one in asked if permit.allows_id("GET", one.type, one.id)]
    found = await caller.instance.store.scan(lambda view: _shared(view, wanted))
    return jsonapi({"data": found or None})


@get(["/permissions/doctype/{doctype:str}/shared-by-link", "/permissions/doctype/{doctype:str}/sharedByLink"],
     opt={"guard": TOKEN})  # fmt: skip
async def links_of_doctype(doctype: str, request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The links with a rule for a doctype, with their codes."""
    permit = await caller.permit()
    if not permit.allows_type("GET", doctype):
        return jsonapi({"errors": [documents.error_object(403, "Forbidden", WHOLE_TYPE)]}, 403)
    limit = page_limit(request.query_params.get("page[limit]"), 30, 100)
    after = _decode_cursor(request.query_params.get("page[cursor]"))
    found = await caller.instance.store.read(
        lambda view: permission_documents.links_of_doctype(view, doctype, after=after, limit=limit + 1)
    )
    more = len(found) > limit
    found = found[:limit]
    next_page: dict[str, Any] = {}
    if more:
        key, last = found[-1]
        cursor = quote(_encode_cursor(key, last.id))
        path = quote(f"/permissions/doctype/{doctype}/shared-by-link")
        next_page["next"] = f"{path}?page[limit]={limit}&page[cursor]={cursor}"
    items = [_resource(document, with_codes=True) for _, document in found]
    return jsonapi(documents.listing(items, links=next_page))


@post("/auth/share-by-link/password", opt={"guard": SECRET})
async def give_password(request: Request[Any, Any, Any], caller: Caller) -> Answer:
    """The password of a link, given by a visitor."""
    fields = await forms.read_fields(request)
    instance, locale = caller.instance, caller.instance.locale
    id = fields.get("perm_id", "")
    document = await instance.store.read(lambda view: view.get(PERMISSIONS, id))
    as_page = wants_html(request)
    if document is None or permission_documents.expired(document.body, instance.env.clock.now()):
        return _link_answer(caller, as_page, 404, {"error": translate(locale, "link.unknown")})
    if not document.body.get("password"):
        return plain_json({"password": "none"})
    guard = Guard(instance, f"link:{id}", caller.visitor.ip)
    password = fields.get("password") or fields.get("passphrase") or ""
    wanted = fields.get("redirect") or request.headers.get("referer", "")
    back = wanted if redirects.is_on_app_host(instance, wanted) else ""
    if not await guard.attempt(lambda: links.right_password(document, password)):
        if as_page and back:
            return link_password_page(caller, id, back, status=403, error=translate(locale, "link.wrong"))
        return _link_answer(caller, as_page, 403, {"error": translate(locale, "link.wrong")})
    answer = redirect(back) if as_page and back else plain_json({"password": "ok"})
    answer.set_cookie(links.password_cookie(instance, document, caller.domain))
    return answer


def page_limit(text: str | None, default: int, highest: int) -> int:
    """A `page[limit]`. Raises InvalidParameter when it is no number."""
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise InvalidParameter("The limit of a page must be a number", parameter="page[limit]")
    return min(max(int(text), 1), highest) if len(text) < 10 else highest


# -- private parts


async def _find(caller: Caller, id: str) -> Document:
    return await caller.instance.store.read(lambda view: view.find(PERMISSIONS, id))


def _of_source(view: Reader, kind: str, source: str) -> Document:
    document = permission_documents.of_source(view, kind, source)
    if document is None:
        raise DocumentNotFound
    return document


async def _patch(request: Request[Any, Any, Any], caller: Caller, permit: Permit, find: Any) -> Answer:
    sent = documents.parse_attributes(await read_body(request, _LIMIT))
    instance = caller.instance
    await instance.store.read(
        lambda view: links.check_owned(find(view), permit) if sent.get("password") else find(view)
    )
    password = await _password(caller, sent.get("password"))
    now = instance.env.clock.timestamp()

    def change(tx: Writer) -> Document:
        document = find(tx)
        body = links.patched(document, permit, sent, now, password_hash=password)
        return tx.put(PERMISSIONS, document.id, body, rev=document.rev)

    document = await instance.store.write(change)
    return jsonapi(documents.document(_resource(document, with_codes=True)))


async def _password(caller: Caller, password: Any) -> str | None:
    if password is None or password == "":
        return password
    if not isinstance(password, str) or len(password) > 1024:
        raise BadRequest(documents.MALFORMED)
    return await links.hash_password(caller.instance, password)


def _resource(document: Document, *, with_codes: bool) -> documents.Object:
    body: Mapping[str, Any] = document.body
    shown = permission_documents.shown(body, with_codes=with_codes)
    section = permission_documents.links_section(document.id, body)
    return documents.resource(PERMISSIONS, document.id, shown, document.rev, section)


def _shared(view: Reader, wanted: list[tuple[str, str]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for doctype, id in dict.fromkeys(wanted):
        verbs: set[str] = set()
        for document in permission_documents.links_of_document(view, doctype, id):
            for rule in parse_rules(document.body.get("permissions") or {}).rules:
                if rule.type == doctype and rule.lists_id(id):
                    verbs.update(rule.verbs or VERBS)
        if verbs:
            found.append({"id": id, "type": doctype, "verbs": [verb for verb in VERBS if verb in verbs]})
    return found


def _link_answer(caller: Caller, as_page: bool, status: int, body: dict[str, str]) -> Answer:
    if as_page:
        return pages.error_page(caller, status, body["error"], translate(caller.instance.locale, "link.open"))
    return plain_json(body, status)


def _encode_cursor(key: bytes, id: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([key.hex(), id])).decode()


def _decode_cursor(text: str | None) -> tuple[bytes, str] | None:
    if not text:
        return None
    try:
        key, id = msgspec.json.decode(base64.urlsafe_b64decode(text), type=tuple[str, str])
        return bytes.fromhex(key), id
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise InvalidParameter("The cursor cannot be read", parameter="page[cursor]") from error


ROUTES: list[Any] = [
    read_own, create_link, read_permission, change_permission, change_app, change_konnector, revoke_permission,
    which_are_shared, links_of_doctype, give_password,
]  # fmt: skip
