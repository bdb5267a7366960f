"""What the host of a web app answers: its pages and files, and who may have them (spec/03 §12.4; spec/04 §9.5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from litestar import Request

from inglenook.apps import (
    documents,
    home_page,
    intents,
    matching,
    page_template,
    page_variables,
    policy,
    registries,
    stored_files,
)
from inglenook.apps.matching import Target
from inglenook.apps.stored_files import Found
from inglenook.files.ranges import Failed, NotModified, Parts, Unsatisfiable, Validators, decide
from inglenook.identity import links, login, one_time, pages, permission_documents, sessions
from inglenook.identity.caller import Caller, caller_of
from inglenook.identity.clients import CLIENT_DEVICES
from inglenook.identity.link_page import link_password_page
from inglenook.identity.translations import translate
from inglenook.kernel.errors import AuthError
from inglenook.storage.documents.contract import Document, Reader
from inglenook.wire import Answer, html, plain_json, redirect, streamed, text, wants_html, wants_json

if TYPE_CHECKING:
    from inglenook.identity.host_names import HostMatch
    from inglenook.identity.instance import Instance

TokenOfCode = Callable[["Instance", str], Awaitable[str]]
"""The token that a page is given for the `sharecode` of its address."""

STORE = "store"
MAX_PAGE = 1024 * 1024  # bytes of a page that is filled in
ROBOTS = "User-agent: *\nDisallow: /\n"
NEVER_KEPT = "private, no-store, must-revalidate"
FOR_EVER = "max-age=31536000, immutable"
SLASH_MARK = "\x00"
"""What the gate puts in the place of an encoded slash; in the path of a file it is a slash like any other."""

log = structlog.get_logger("inglenook.apps")


async def answer(request: Request[Any, Any, Any], match: HostMatch, token_of_code: TokenOfCode) -> Answer:
    """The answer to a request on an app's host."""
    visit = Visit(request, match, caller_of(request))
    given = await _answer(visit, token_of_code)
    if "content-security-policy" not in given.headers:
        given.headers.update(policy.headers(match.instance, match.domain))
    return given


@dataclass(frozen=True, slots=True)
class Visit:
    """A request on the host of an app."""

    request: Request[Any, Any, Any]
    match: HostMatch
    caller: Caller

    @property
    def instance(self) -> Instance:
        """The instance that the app belongs to."""
        return self.match.instance

    @property
    def slug(self) -> str:
        """The app of the host."""
        return self.match.slug

    @property
    def path(self) -> str:
        """The decoded path."""
        return self.request.scope["path"].replace(SLASH_MARK, "/")

    def here(self, *, query: bool = True) -> str:
        """The URL of this request, with or without its query."""
        path = bytes(self.request.scope["raw_path"]).decode("ascii", "replace").partition("?")[0]
        sent = self.request.scope["query_string"].decode("ascii", "replace") if query else ""
        return self.instance.app_url(self.slug, path, host=self.match.domain) + (f"?{sent}" if sent else "")

    def parameter(self, name: str) -> str:
        """A parameter of the query, empty when it is absent."""
        return self.request.query_params.get(name) or ""

    def refusal(self, status: int, message: str) -> Answer:
        """An error of the plain family (spec/03 §2.2)."""
        if wants_json(self.request):
            return plain_json({"error": message}, status)
        if wants_html(self.request):
            home = self.caller.url("").rstrip("/")
            return pages.refusal(status, message, self.instance.locale, self.match.domain, home)
        return text(message, status)


def error_page(caller: Caller, status: int, title: str, message: str = "", **more: Any) -> Answer:
    """A page on the host of an app, with the static files of the instance."""
    home = caller.url("").rstrip("/")
    return pages.page(caller, "app_error.html", status=status, origin=home, title=title, message=message,
                      link=more.get("link", ""), link_text=more.get("link_text", ""))  # fmt: skip


async def _answer(visit: Visit, token_of_code: TokenOfCode) -> Answer:
    method, instance = visit.request.method, visit.instance
    if method not in ("GET", "HEAD"):
        refusal = visit.refusal(405, f"Method {method} not allowed")
        refusal.headers["allow"] = "GET, HEAD"
        return refusal
    if not instance.doc.onboarding_finished:
        return redirect(instance.url("/", host=visit.match.domain), 302)
    document = await instance.store.read(lambda view: documents.get(view, visit.slug))
    if document is None:
        if visit.slug == home_page.SLUG and visit.path == "/":
            return await _built_in_home(visit)
        return await _not_installed(visit)
    if not documents.is_served(document.body):
        return visit.refusal(503, "Application is not ready")
    target = matching.match(document.body.get("routes") or {}, visit.path)
    if target is None:
        return visit.refusal(404, "Page not found")
    if code := visit.parameter("session_code"):
        return await _by_session_code(visit, code)
    if not target.public and await visit.caller.session() is None:
        return _asks_to_log_in(visit, target)
    found = await instance.store.read(lambda view: stored_files.look_up(view, visit.slug, target.file))
    if found is None:
        return _robots() if target.file == "/robots.txt" else visit.refusal(404, "Asset not found")
    if not target.is_index:
        return _file(visit, target, found)
    return await _page(visit, document, target, found, token_of_code)


async def _not_installed(visit: Visit) -> Answer:
    """The store shows its owner an app that a registry has; without a store, or for an app that nobody knows, 404.

    Registries are not asked for strangers, who could make this server ask as often as they like."""
    instance = visit.instance
    if registries.addresses(instance.context_settings) and await visit.caller.session() is not None:
        store = await instance.store.read(lambda view: documents.get(view, STORE))
        if store is not None and await registries.knows(instance, visit.slug):
            fragment = f"/discover/{visit.slug}"
            return redirect(instance.app_url(STORE, fragment=fragment, host=visit.match.domain), 307)
    return visit.refusal(404, documents.NOT_INSTALLED)


async def _built_in_home(visit: Visit) -> Answer:
    """What stands in for the app `home` as long as it is not installed."""
    if code := visit.parameter("session_code"):
        return await _by_session_code(visit, code)
    if await visit.caller.session() is None:
        return _to_login(visit)
    return await home_page.page(visit.caller)


# -- who may come in


async def _by_session_code(visit: Visit, code: str) -> Answer:
    """A session for the code, then the same page without any query. The code is used up in any case."""
    good, _ = await one_time.take_code(visit.instance, one_time.SESSION_CODE, code)
    back = redirect(visit.here(query=False))
    if good and await visit.caller.session() is None:
        session = await login.start_session(visit.caller)
        back.set_cookie(sessions.session_cookie(visit.instance, session, visit.match.domain))
    return back


def _asks_to_log_in(visit: Visit, target: Target) -> Answer:
    if target.is_index:
        return _to_login(visit)
    return _robots() if target.file == "/robots.txt" else visit.refusal(401, "You must be authenticated")


def _to_login(visit: Visit) -> Answer:
    query = {"redirect": visit.here()}
    if jwt := visit.parameter("jwt"):
        query["jwt"] = jwt
    return redirect(visit.instance.url("/auth/login", query, host=visit.match.domain), 302)


# -- files


def _file(visit: Visit, target: Target, found: Found) -> Answer:
    compressed = found.gzip is not None and "gzip" in visit.request.headers.get("accept-encoding", "")
    content = found.gzip if compressed and found.gzip is not None else found.content
    # The tag is that of what is sent: the same file compressed is another representation (RFC 9110 §8.8.3.3).
    etag = f'"{content.sha256[:32]}"'
    headers = {"etag": etag}
    if found.gzip is not None:
        headers["vary"] = "Accept-Encoding"
    if matching.is_fixed(target.file):
        headers["cache-control"] = FOR_EVER
    start, end, status = 0, content.size, 200
    match decide(visit.request.headers, Validators(etag, None), content.size):
        case NotModified():
            return Answer(status=304, headers=headers)
        case Failed():
            return visit.refusal(412, "A condition of the request does not hold")
        case Unsatisfiable():
            return Answer(status=416, headers={"content-range": f"bytes */{content.size}"})
        case Parts(pieces=((start, end),)):
            headers["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
            status = 206
        case _:  # several parts at once are not worth their form: everything is a right answer as well
            pass
    if compressed:
        headers["content-encoding"] = "gzip"
    headers |= {"content-length": str(end - start), "accept-ranges": "bytes"}
    chunks = visit.instance.contents.read(content, start, end)
    return streamed(chunks, status=status, media_type=stored_files.mime_of(target.file), headers=headers)


def _robots() -> Answer:
    return text(ROBOTS)


# -- pages


async def _page(visit: Visit, document: Document, target: Target, found: Found, token_of_code: TokenOfCode) -> Answer:
    instance, caller = visit.instance, visit.caller
    session = await caller.session()
    if session is None and instance.doc.moved:
        return await _moved(visit)
    sharecode = visit.parameter("sharecode")
    if sharecode and (asks := await _password_page(visit, sharecode)) is not None:
        return asks
    if session is not None and not target.public and visit.slug != "settings" and await _too_many_devices(instance):
        limit = caller.url("/settings/clients/limit-exceeded", {"redirect": visit.here()})
        return redirect(limit)
    ancestors: tuple[str, ...] = ()
    if intent := visit.parameter("intent"):
        ancestors = await intents.embedders(instance, visit.slug, intent, visit.match.domain)
    if visit.slug == policy.DATAPROXY and target.public:
        ancestors = (*ancestors, caller.url("").rstrip("/"))
    headers = {
        "cache-control": NEVER_KEPT,
        **policy.headers(instance, visit.match.domain, ancestors=ancestors),
    }
    source = await _source(visit, found)
    if source is None:
        return visit.refusal(500, "The page of the application is too large or no text")
    if sharecode:
        token = await token_of_code(instance, sharecode)
    else:
        token = page_variables.app_token(instance, visit.slug, session) if session is not None else ""
    variables = await page_variables.variables(caller, document, token=token, logged_in=session is not None)
    try:
        template = page_template.template(source)
        page = source if template is None else template.render(variables)
    except page_template.UnknownVariable as error:
        log.warning("a page of an app names an unknown variable", slug=visit.slug, variable=str(error))
        return error_page(caller, 500, translate(instance.locale, "apps.broken", variable=str(error)))
    return html(page, headers=headers)


async def _source(visit: Visit, found: Found) -> str | None:
    if found.content.size > MAX_PAGE:
        return None
    try:
        return b"".join([piece async for piece in visit.instance.contents.read(found.content)]).decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


async def _password_page(visit: Visit, sharecode: str) -> Answer | None:
    """The question for the password of a link, None when it has none or the visitor has given it."""

    def find(view: Reader) -> Document | None:
        code = sharecode.removesuffix(".")
        try:
            return permission_documents.by_code(view, permission_documents.long_code(view, code))
        except AuthError:
            pass
        try:
            return permission_documents.by_code(view, sharecode)
        except AuthError:  # the page is shown, and its calls are refused
            return None

    document = await visit.instance.store.read(find)
    if document is None or not document.body.get("password"):
        return None
    if links.has_password_cookie(visit.instance, document, visit.request.cookies):
        return None
    return link_password_page(visit.caller, document.id, visit.here())


async def _moved(visit: Visit) -> Answer:
    """The visitors of a public page follow the instance to its new home."""
    instance = visit.instance
    settings = await instance.settings()
    new = urlsplit(str(settings.get("moved_to") or ""))
    locale = instance.locale
    link = ""
    if new.scheme in ("http", "https") and new.netloc:
        label, _, rest = new.netloc.partition(".")
        is_flat = settings.get("moved_to_subdomain_type") == "flat"
        host = f"{label}-{visit.slug}.{rest}" if is_flat else f"{visit.slug}.{new.netloc}"
        here = urlsplit(visit.here())
        link = here._replace(scheme=new.scheme, netloc=host).geturl()
    return error_page(
        visit.caller, 410, translate(locale, "apps.moved"), translate(locale, "apps.moved.text"),
        link=link, link_text=translate(locale, "apps.moved.link"),
    )  # fmt: skip


async def _too_many_devices(instance: Instance) -> bool:
    limit = instance.doc.feature_flags.get("cozy.oauthclients.max")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        return False
    return await instance.store.read(lambda view: view.index_count(CLIENT_DEVICES)) > limit
