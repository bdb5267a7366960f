"""A request for consent: the checks that both the page and its form go through, and the code they end in
(spec/03 §7.4, §7.5; RFC 6749 §4.1, RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from inglenook.identity import clients, linked_apps, redirects, sessions
from inglenook.identity.clients import ACCESS_CODES, CLIENT_DEVICES, CLIENTS
from inglenook.identity.translations import translate
from inglenook.kernel.errors import AuthError, DomainError
from inglenook.kernel.permissions import VERBS, Rule, parse_scope
from inglenook.storage.documents.contract import Document, Reader, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

CODE_SECONDS = 300.0
FIELDS = ("client_id", "state", "redirect_uri", "scope", "response_type", "code_challenge", "code_challenge_method")


class ConsentRefused(DomainError):
    """A request that cannot be put to the owner: a 400 page, never a redirection."""

    def __init__(self, key: str, **values: str) -> None:
        super().__init__(translate("en", key, **values))
        self.key = key
        self.values = values


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """What a client asks for, checked."""

    client: Document
    redirect_uri: str
    state: str
    scope: str
    code_challenge: str
    fields: Mapping[str, str]
    must_be_confirmed: bool = False
    """Whether the client asks for everything and the owner has not yet told, by a mailed code, that it is his own."""

    @property
    def is_login(self) -> bool:
        """Whether the client only wants to know that the owner is there."""
        return self.scope == "login"


@dataclass(frozen=True, slots=True)
class Right:
    """One line of what a client will be able to do, in the owner's language."""

    what: str
    how: str


async def checked_request(instance: Instance, fields: Mapping[str, str]) -> ConsentRequest:
    """Check a request in the order of spec/03 §7.4. Raises ConsentRefused."""
    get = {name: fields.get(name, "") for name in FIELDS}
    for name in ("state", "client_id", "redirect_uri"):
        if not get[name]:
            raise ConsentRefused("authorize.error.mandatory", name=name)
    if get["response_type"] != "code":
        raise ConsentRefused("authorize.error.response_type")
    if get["code_challenge_method"] not in ("", "S256"):
        raise ConsentRefused("authorize.error.method")
    if get["code_challenge_method"] and not get["code_challenge"]:
        raise ConsentRefused("authorize.error.challenge")
    client = await instance.store.read(lambda view: view.get(CLIENTS, get["client_id"]))
    if client is None:
        raise ConsentRefused("authorize.error.client")
    if get["redirect_uri"] not in client.body.get("redirect_uris", ()):
        raise ConsentRefused("authorize.error.redirect_uri")
    if linked := linked_apps.scope_of(client.body):
        return ConsentRequest(client, get["redirect_uri"], get["state"], linked, get["code_challenge"], get)
    scope = get["scope"]
    if not scope or (scope == "login" and not client.body.get("allow_login_scope")):
        raise ConsentRefused("authorize.error.mandatory", name="scope")
    if scope == "*":
        if not get["code_challenge"]:
            raise ConsentRefused("authorize.error.everything")
    elif scope != "login":
        try:
            parse_scope(scope)
        except AuthError as error:
            raise ConsentRefused("authorize.error.scope") from error
    unconfirmed = scope == "*" and not client.body.get("flagship")
    return ConsentRequest(client, get["redirect_uri"], get["state"], scope, get["code_challenge"], get, unconfirmed)


def device_limit_reached(view: Reader, instance: Instance) -> int | None:
    """The limit of devices when it is reached (flag `cozy.oauthclients.max`), None otherwise."""
    limit = instance.doc.feature_flags.get("cozy.oauthclients.max")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        return None
    return limit if view.index_count(CLIENT_DEVICES) >= limit else None


def give_code(tx: Writer, request: ConsentRequest, now: float) -> str:
    """Write an access code for the client, good once within five minutes; gives the code.

    `now` is in seconds of Unix time."""
    for old in tx.all_docs(ACCESS_CODES, limit=20):
        if old.body.get("issued_at", 0) + CODE_SECONDS < now:
            tx.delete(ACCESS_CODES, old.id, old.rev)
    code = tx.new_id()
    body: dict[str, Any] = {
        "client_id": request.client.id, "issued_at": int(now), "scope": "" if request.is_login else request.scope,
    }  # fmt: skip
    if request.code_challenge:
        body["code_challenge"] = request.code_challenge
    tx.put(ACCESS_CODES, code, body)
    return code


def take_code(tx: Writer, code: str, client_id: str, verifier: str, now: float) -> str:
    """Use up an access code of a client; gives its scope.

    Raises clients.ClientRefused with the text for the client; a code of another client, or a right code with a wrong
    verifier, is not used up."""
    document = tx.get(ACCESS_CODES, code)
    if document is None or document.body.get("client_id") != client_id:
        raise clients.ClientRefused("invalid code")
    if document.body.get("issued_at", 0) + CODE_SECONDS < now:
        raise clients.ClientRefused("invalid code")
    challenge = document.body.get("code_challenge")
    if challenge and not hmac.compare_digest(_challenge_of(verifier).encode(), str(challenge).encode()):
        raise clients.ClientRefused("invalid code_verifier")
    tx.delete(ACCESS_CODES, code, document.rev)
    return str(document.body.get("scope") or "")


def answer_url(request: ConsentRequest, code: str, fallback: str = "") -> str:
    """Where the browser takes the code: the client's redirect URI with the code (twice), the state and a lone `#`;
    `fallback` is the address of the app that a client is linked to."""
    more = {"access_code": code, "code": code, "state": request.state}
    if fallback and urlsplit(request.redirect_uri).scheme in ("http", "https"):
        more["fallback"] = fallback
    return redirects.with_query(request.redirect_uri, more) + "#"


def refusal_url(redirect_uri: str) -> str:
    """Where the owner goes who does not allow it, empty for an address that no link should lead to."""
    scheme = urlsplit(redirect_uri).scheme
    if scheme not in ("http", "https") and not scheme.startswith("cozy"):
        return ""
    return redirects.with_query(redirect_uri, {"error": "access_denied"})


async def rights_of(instance: Instance, request: ConsentRequest) -> list[Right]:
    """What is asked for, in words: the scope, or the manifest of the app that the client is linked to.

    Raises NotFound, UpstreamFailed, BadRequest when that app cannot be looked up."""
    if request.is_login:
        return []
    slug, apps = clients.linked_app(request.client.body), instance.registry.linked_apps
    rules = await apps.rights(instance, slug) if slug and apps else parse_scope(request.scope)
    return [Right(_what(rule, instance.locale), _how(rule, instance.locale)) for rule in rules.rules]


def logo_host(client: Mapping[str, Any]) -> str:
    """The source that the page's policy must allow for the client's logo, empty for none."""
    parts = urlsplit(str(client.get("logo_uri") or ""))
    host = parts.netloc
    return f"{parts.scheme}://{host}" if parts.scheme in ("http", "https") and host and ";" not in host else ""


def system_of(user_agent: str) -> str:
    """The operating system that the consent was given from."""
    return sessions.software(user_agent)[0]


def _what(rule: Rule, locale: str) -> str:
    key = f"doctype.{rule.type}"
    text = translate(locale, key)
    return rule.type if text == key else text


def _how(rule: Rule, locale: str) -> str:
    verbs = [verb for verb in VERBS if rule.has_verb(verb)]
    words = (
        translate(locale, "authorize.all")
        if len(verbs) == len(VERBS)
        else ", ".join(translate(locale, f"authorize.verb.{verb}") for verb in verbs)
    )
    return translate(locale, "authorize.some", verbs=words) if rule.values else words


def _challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
