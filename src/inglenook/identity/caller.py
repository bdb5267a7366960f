"""Who is calling: from a request to a permit or a session (spec/03 §2.3, §2.4, §8.2, §8.3).

A `Caller` lives as long as its request. `permit()` turns the request's token into what it may do, `session()` its
cookie into the logged-in browser; both look once and remember. `granted` does the same for a bare token, for
callers that are not HTTP requests (a websocket that authenticates by its first message).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol, cast

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import Provide

from inglenook.identity import links, permission_documents, sessions, tokens
from inglenook.identity.clients import CLIENTS, SHARING_KIND
from inglenook.identity.host_names import HostMatch
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS, VAULT_SETTINGS, Instance
from inglenook.identity.sessions import Session, Visitor
from inglenook.identity.throttle import Guard
from inglenook.kernel.errors import BadCredentials, ClosedCode, ExpiredCode, Forbidden, Gone, InvalidToken, NoToken
from inglenook.kernel.permissions import MALFORMED, MAXIMAL, Permit, Rule, linked_app, parse_scope
from inglenook.storage.documents.contract import Document, Reader

_TINY_CODE = re.compile(r"\d{6}\.?\Z", re.ASCII)
_SHORT_CODE = re.compile(r"(\d{6}|\w{12})\.?\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Granted:
    """A permit with what it was read from: the permission document of an app or code, and for the codes of a sharing
    the member that the code was made for, in the form of the API."""

    permit: Permit
    document: Document | None = None
    member: Mapping[str, Any] | None = None


class SharingMembers(Protocol):
    """What the sharing domain tells of a preview or interact code (spec/03 §8.3 step 5)."""

    async def __call__(self, instance: Instance, sharing_id: str, member_key: str) -> Mapping[str, Any]:
        """The member's attributes for clients; marks them as having seen the sharing.

        Raises ExpiredCode when the sharing is gone, NotFound for an unknown member, ClosedCode for a revoked one."""
        ...


class Caller:
    """The other end of one request.

    `domain` is the name by which the instance was called (an alias maybe); pages and cookies use it.
    `asked` tells whether the handler looked at the permit.
    """

    def __init__(self, instance: Instance, domain: str, request: ASGIConnection[Any, Any, Any, Any]) -> None:
        self.instance = instance
        self.domain = domain
        self.request = request
        self.asked = False
        self._granted: Granted | None = None
        self._session: Session | None = None
        self._session_read = False

    # -- credentials
    async def permit(self) -> Permit:
        """What this request may do.

        Raises NoToken, InvalidToken, ExpiredToken, Forbidden, BadCredentials, Gone, and MustWait for who tries tiny
        codes."""
        return (await self.granted()).permit

    async def granted(self) -> Granted:
        """The permit with its document. Raises as `permit`."""
        self.asked = True
        if self._granted is None:
            self._granted = await self._read_grant()
        return self._granted

    async def granted_to(self, token: str) -> Granted:
        """What another token than that of the request gives to this caller. Raises as `permit`."""
        if _TINY_CODE.match(token):
            await self._guard_tiny_code(token)
        return await granted(self.instance, token, self.request.cookies)

    async def permit_or_none(self) -> Permit | None:
        """The permit, None for a request that carries no token at all. Raises as `permit` for a bad one."""
        try:
            return await self.permit()
        except NoToken:
            return None

    async def session(self) -> Session | None:
        """The logged-in browser, None when there is no valid session cookie."""
        if not self._session_read:
            self._session = await sessions.session_of(self.instance, self.request.cookies)
            self._session_read = True
        return self._session

    def remember_session(self, session: Session | None) -> None:
        """Tell that this request has opened (None: ended) its session."""
        self._session, self._session_read = session, True

    @property
    def token(self) -> str:
        """The token of the request as sent, empty when there is none."""
        return token_of(self.request)

    # -- the request
    def at_end(self, action: Callable[[], None]) -> None:
        """Do something when the answer has gone, or was given up."""
        state: dict[str, Any] = self.request.scope["state"]
        state.setdefault("at_end", []).append(action)

    @property
    def visitor(self) -> Visitor:
        """Address and software of the other end."""
        return sessions.visitor(cast("Request[Any, Any, Any]", self.request), self.instance.env.config.trusted_proxies)

    def url(self, path: str = "/", query: Mapping[str, str] | None = None) -> str:
        """A page of the instance under the name by which it was called."""
        return self.instance.url(path, query, host=self.domain)

    def here(self) -> str:
        """The complete URL of this request."""
        raw: bytes = self.request.scope.get("raw_path") or b""
        path = raw.decode("ascii", "replace").partition("?")[0] or self.request.scope["path"]
        query = self.request.scope["query_string"].decode("ascii", "replace")
        return self.url(path) + (f"?{query}" if query else "")

    async def _read_grant(self) -> Granted:
        register = self.request.query_params.get("registerToken")
        if register and is_register_token(self.instance, register):
            rule = Rule(type=SETTINGS, verbs=("GET",), values=(INSTANCE_SETTINGS,))
            return Granted(Permit(kind="register", rules=(rule,)))
        if not self.token:
            raise NoToken
        return await self.granted_to(self.token)

    async def _guard_tiny_code(self, token: str) -> None:
        """Slow down who tries codes of six digits. Raises MustWait."""

        async def is_known() -> bool:
            try:
                await self.instance.store.read(lambda view: permission_documents.long_code(view, token.rstrip(".")))
            except Forbidden:
                return False
            return True

        await Guard(self.instance, "tiny-code", self.visitor.ip).attempt(is_known)


async def granted(instance: Instance, token: str, cookies: Mapping[str, str]) -> Granted:
    """What a token gives. `cookies` are those of the request: an app token needs that of its session, the code of a
    password-protected link that of the password.

    Raises InvalidToken, ExpiredToken, Forbidden (unknown code), BadCredentials, Gone (the instance has moved)."""
    if _SHORT_CODE.match(token):
        token = await instance.store.read(lambda view: permission_documents.long_code(view, token.rstrip(".")))
    claims = tokens.verify(
        instance, token, tokens.ACCESS, tokens.APP, tokens.SHARE, tokens.CLI, tokens.KONNECTOR, tokens.REFRESH
    )
    if claims.session_id and claims.session_id != await _session_id(instance, cookies):
        raise InvalidToken
    if claims.stamp and claims.stamp != await _security_stamp(instance):
        raise InvalidToken
    match claims.audience:
        case tokens.ACCESS:
            return await _oauth(instance, claims)
        case tokens.APP:
            return await _installed(instance, "app", "io.cozy.apps/" + claims.sub, claims)
        case tokens.KONNECTOR:
            return await _installed(instance, "konnector", "io.cozy.konnectors/" + claims.sub, claims)
        case tokens.CLI:
            if claims.scope == "*":
                raise BadCredentials(MALFORMED)
            return Granted(Permit(kind="cli", rules=_scope_rules(claims.scope), slug=claims.sub))
        case tokens.SHARE:
            return await _code(instance, token, cookies)
        case _:
            raise BadCredentials(f"Unrecognized token audience [{claims.audience}]")


def token_of(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The token that a request carries: bearer, the password of Basic, or the query (spec/03 §2.3)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            if value.strip():
                return value.strip()
        case "basic":
            try:
                password = base64.b64decode(value.strip()).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                password = ""
            if password:
                return password
        case _:
            pass
    return request.query_params.get("bearer_token") or ""


def is_register_token(instance: Instance, text: str) -> bool:
    """Whether a text is the instance's register token in hexadecimal."""
    expected = instance.doc.register_token
    try:
        return bool(expected) and hmac.compare_digest(bytes.fromhex(text), expected)
    except ValueError:
        return False


# -- by audience


async def _oauth(instance: Instance, claims: tokens.Claims) -> Granted:
    if instance.doc.moved:
        settings = await instance.settings()
        raise Gone("The Cozy has been moved to a new address", code="moved", related=settings.get("moved_to"))
    client_id = claims.client_id if claims.client_id and claims.sub == instance.id else claims.sub
    slug = linked_app(claims.scope) or ""
    linked = f"io.cozy.apps/{slug}" if slug else ""

    def read(view: Reader) -> tuple[Document | None, Document | None]:
        app = permission_documents.of_source(view, "app", linked) if linked else None
        return view.get(CLIENTS, client_id), app

    client, app = await instance.store.read(read)
    if client is None:
        raise InvalidToken
    kind = str(client.body.get("client_kind") or "")
    if claims.scope == "*":
        if not client.body.get("flagship"):
            raise InvalidToken
        rules = MAXIMAL.rules
    elif linked:
        if app is None:
            raise InvalidToken
        rules = permission_documents.rules_of(app.body)
    else:
        rules = _scope_rules(claims.scope)
    sharing_id = _sharing_of_scope(claims.scope) if kind == SHARING_KIND else ""
    permit = Permit(
        kind="oauth", rules=rules, source_id=linked or client_id, client_id=client_id, client_kind=kind,
        slug=slug, sharing_id=sharing_id,
    )  # fmt: skip
    return Granted(permit)


async def _installed(
    instance: Instance, kind: Literal["app", "konnector"], source: str, claims: tokens.Claims
) -> Granted:
    document = await instance.store.read(lambda view: permission_documents.of_source(view, kind, source))
    if document is None:
        raise InvalidToken
    permit = Permit(
        kind=kind, rules=permission_documents.rules_of(document.body), source_id=source, slug=claims.sub,
        permission_id=document.id, session_id=claims.session_id,
    )  # fmt: skip
    return Granted(permit, document)


async def _code(instance: Instance, code: str, cookies: Mapping[str, str]) -> Granted:
    document, source_lives = await instance.store.read(lambda view: _find_code(view, code))
    body = document.body
    if permission_documents.expired(body, instance.env.clock.now()):
        raise ExpiredCode
    source = str(body.get("source_id") or "")
    sharing_id = source.removeprefix("io.cozy.sharings/") if source.startswith("io.cozy.sharings/") else ""
    if not source_lives and (sharing_id or not instance.env.config.dev):
        raise ExpiredCode
    if body.get("password") and not links.has_password_cookie(instance, document, cookies):
        raise ClosedCode
    kind = body["type"]
    member_key = next((name for name, value in body.get("codes", {}).items() if value == code), "")
    member: Mapping[str, Any] | None = None
    if kind in ("share-preview", "share-interact"):
        look_up = instance.registry.sharing_members
        if look_up is None:
            raise Forbidden
        member = await look_up(instance, sharing_id, member_key)
    permit = Permit(
        kind=kind, rules=permission_documents.rules_of(body), source_id=source, sharing_id=sharing_id,
        member_key=member_key, permission_id=document.id,
    )  # fmt: skip
    return Granted(permit, document, member)


def _find_code(view: Reader, code: str) -> tuple[Document, bool]:
    document = permission_documents.by_code(view, code)
    doctype, slash, _ = str(document.body.get("source_id") or "").partition("/")
    if not slash:
        return document, True
    source = document.body["source_id"]
    lives = view.get(doctype, source if doctype in ("io.cozy.apps", "io.cozy.konnectors") else source.partition("/")[2])
    return document, lives is not None


@lru_cache(maxsize=1024)
def _scope_rules(scope: str) -> tuple[Rule, ...]:
    return parse_scope(scope).rules


async def _session_id(instance: Instance, cookies: Mapping[str, str]) -> str:
    session = await sessions.session_of(instance, cookies)
    return session.id if session else ""


async def _security_stamp(instance: Instance) -> str:
    vault = await instance.store.read(lambda view: view.get(SETTINGS, VAULT_SETTINGS))
    return str(vault.body.get("security_stamp", "")) if vault else ""


def _sharing_of_scope(scope: str) -> str:
    parts = scope.split(":")
    return parts[2] if len(parts) == 3 and parts[0] == "io.cozy.sharings" else ""


# -- Litestar


def provide_instance(request: Request[Any, Any, Any]) -> Instance:
    """The dependency `instance`: that of the request's host."""
    return _match(request).instance


def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    """The dependency `caller`, one for each request."""
    return caller_of(request)


def caller_of(request: ASGIConnection[Any, Any, Any, Any]) -> Caller:
    """The caller of a request or websocket; the same one each time it is asked for."""
    state = request.scope["state"]
    caller = state.get("caller")
    if not isinstance(caller, Caller):
        match = _match(request)
        caller = state["caller"] = Caller(match.instance, match.domain, request)
    return caller


def _match(request: ASGIConnection[Any, Any, Any, Any]) -> HostMatch:
    """What the web layer's host middleware has put into `scope["state"]["host"]`."""
    return request.scope["state"]["host"]


DEPENDENCIES = {
    "instance": Provide(provide_instance, sync_to_thread=False),
    "caller": Provide(provide_caller, sync_to_thread=False),
}
