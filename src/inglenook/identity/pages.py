"""HTML pages made on the server: templates, texts, static files, the policy of what a page may load (spec/03 §2.5).

A page works without JavaScript, loads only its own server's static files and has no inline script or style. Other
domains bring templates and texts of their own with `extend`, and render them with `page`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2

from inglenook.identity import translations
from inglenook.wire import TITLES, Answer, html, plain_json, text, wants_html, wants_json

if TYPE_CHECKING:
    from inglenook.identity.caller import Caller
    from inglenook.identity.csrf import Csrf

_packages = ["inglenook.identity"]
_loaders: list[jinja2.BaseLoader] = [jinja2.PackageLoader("inglenook.identity")]
_environment = jinja2.Environment(
    loader=jinja2.ChoiceLoader(_loaders), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


def extend(package: str) -> None:
    """Take in the `templates` folder, the texts and, if there are any, the `assets` of a package; its templates may
    extend `layout.html`."""
    _packages.append(package)
    asset.cache_clear()
    _loaders.append(jinja2.PackageLoader(package))
    translations.extend(package)


def page(
    caller: Caller,
    template: str,
    *,
    status: int = 200,
    csrf: Csrf | None = None,
    frames: str = "'none'",
    images: str = "",
    origin: str = "",
    **context: Any,
) -> Answer:
    """A page in the language of the instance.

    Templates get `context`, `t(key, **values)`, `asset(name)`, `locale`, `domain`, and `csrf_token` when `csrf` is
    given, which also puts its cookie on the answer. `frames` and `images` add sources to the page's policy; `origin` is
    where the static files are, for a page on another host than the instance's."""
    locale = caller.instance.locale
    shown = _render(template, locale, origin, domain=caller.domain, csrf_token=csrf.value if csrf else "", **context)
    headers = {
        "content-security-policy": policy(frames=frames, images=images, origin=origin),
        "cache-control": "private, no-store",  # forms carry tokens, and what is said depends on who asks
        "referrer-policy": "same-origin",  # addresses carry states and codes
    }
    answer = html(shown, status, headers)
    return csrf.protect(answer) if csrf else answer


def error_page(caller: Caller, status: int, title: str, message: str = "") -> Answer:
    """A page that says what went wrong; `title` and `message` are texts for people."""
    return page(caller, "error.html", status=status, title=title, message=message, start=caller.url("/"))


def refusal(status: int, message: str, locale: str = "en", domain: str = "", origin: str = "") -> Answer:
    """The page for an error of the wire: its status in words, and its message in the language of the instance where
    somebody has translated it. `origin` as for `page`, `domain` empty where nobody lives."""
    title = translations.translate(locale, key := f"error.title.{status}")
    if title == key:
        title = TITLES.get(status, "Error")
    told = translations.translate(locale, key := f"error.text.{message}")
    start = f"{origin}/" if domain else ""
    return _bare(status, title, message if told == key else told, locale, domain, origin, start)


def plain_refusal(caller: Caller, status: int, message: str) -> Answer:
    """An error of the plain family (spec/03 §2.2) where the answer carries more than the error: a cookie, say."""
    if wants_json(caller.request):
        return plain_json({"error": message}, status)
    if wants_html(caller.request):
        return refusal(status, message, caller.instance.locale, caller.domain)
    return text(message, status)


def notice(status: int, title: str, message: str, locale: str = "en", *, domain: str = "", origin: str = "") -> Answer:
    """A page that says something in two sentences, where there is no caller to speak with. `origin` as for `page`."""
    return _bare(status, title, message, locale, domain, origin, start="")


def _bare(status: int, title: str, message: str, locale: str, domain: str, origin: str, start: str) -> Answer:
    shown = _render(
        "error.html", locale, origin, domain=domain, csrf_token="", title=title, message=message, start=start
    )
    return html(shown, status, {"content-security-policy": policy(origin=origin)})


def policy(*, frames: str = "'none'", images: str = "", origin: str = "") -> str:
    """The Content-Security-Policy of a page."""
    own = f"'self' {origin}" if origin else "'self'"
    more = f" {images}" if images else ""
    return f"default-src {own};frame-src {frames};frame-ancestors 'none';base-uri 'none';img-src {own} data:{more};"


def _render(template: str, locale: str, origin: str, **context: Any) -> str:
    def t(key: str, **values: object) -> str:
        return translations.translate(locale, key, **values)

    def asset_url(name: str) -> str:
        return origin + asset_path(name)

    return _environment.get_template(template).render(t=t, asset=asset_url, locale=locale, **context)


# -- static files


def asset_path(name: str) -> str:
    """The path of a static file, with a hash of its content in the name, so that browsers may keep it for ever."""
    stem, dot, extension = name.rpartition(".")
    return f"/assets/{stem}.{_digest(name)}{dot}{extension}"


@lru_cache(maxsize=64)
def asset(name: str) -> bytes | None:
    """A static file of the pages, None when there is none of that name."""
    if "/" in name or "\\" in name or name.startswith("."):
        return None
    for package in _packages:
        source = resources.files(package).joinpath("assets", name)
        if source.is_file():
            return source.read_bytes()
    return None


def _digest(name: str) -> str:
    content = asset(name)
    assert content is not None, f"no static file {name}"
    return hashlib.sha256(content).hexdigest()[:10]


def asset_of_path(path_name: str) -> tuple[str, bytes, bool] | None:
    """The static file that a name in `/assets/` designates: its name, its bytes, and whether the name carries the
    hash of this very content."""
    parts = path_name.split(".")
    if len(parts) >= 3:
        name = ".".join([*parts[:-2], parts[-1]])
        content = asset(name)
        if content is not None:
            return name, content, parts[-2] == _digest(name)
    content = asset(path_name)
    return None if content is None else (path_name, content, False)
