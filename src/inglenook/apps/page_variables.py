"""What the page of an app is told about its instance, its user and itself (spec/03 §12.5)."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from inglenook.apps import documents, manifest
from inglenook.apps.page_template import Markup, Value
from inglenook.identity import pages, settings, tokens
from inglenook.identity.sessions import Session
from inglenook.storage.documents.contract import Document

if TYPE_CHECKING:
    from inglenook.identity.caller import Caller
    from inglenook.identity.instance import Instance

_SAFE_JSON = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def app_token(instance: Instance, slug: str, session: Session | None) -> str:
    """The token of an app for a browser session; without one it is good for half an hour."""
    return tokens.issue(instance, tokens.APP, slug, session_id=session.id if session else "")


async def variables(caller: Caller, document: Document, *, token: str, logged_in: bool) -> dict[str, Value]:
    """The variables of the template, by name."""
    instance = caller.instance
    stored = await instance.settings()
    body = document.body
    slug = documents.slug_of(document)
    name = manifest.name_in(body, instance.locale)
    editor, prefix = manifest.text(body, "editor"), manifest.text(body, "name_prefix")
    icon = manifest.text(body, "icon")
    flags, capabilities = settings.flags(instance), settings.capabilities(instance)
    subdomain = instance.env.config.subdomains
    tracking = stored.get("tracking") in ("true", True)
    cozy_data = {
        "app": {"editor": editor, "icon": icon, "name": name, "prefix": prefix, "slug": slug},
        "capabilities": capabilities,
        "domain": caller.domain,
        "flags": flags,
        "isLoggedIn": logged_in,
        "locale": instance.locale,
        "subdomain": subdomain,
        "token": token,
        "tracking": tracking,
    }
    return {
        "Token": token,
        "Domain": caller.domain,
        "Locale": instance.locale,
        "ContextName": instance.context,
        "SubDomain": subdomain,
        "Tracking": tracking,
        "AppSlug": slug,
        "AppName": name,
        "AppEditor": editor,
        "AppNamePrefix": prefix,
        "IconPath": icon,
        "Flags": _json(flags),
        "Capabilities": _json(capabilities),
        "CozyData": _json(cozy_data),
        "CozyBar": Markup(
            _style(caller, "fonts.css") + _style(caller, "cozy-bar.min.css") + _script(caller, "cozy-bar.min.js")
        ),
        "CozyClientJS": Markup(_script(caller, "cozy-client.min.js")),
        "CozyFonts": Markup(_style(caller, "fonts.css")),
        "ThemeCSS": Markup(_style(caller, "theme.css")),
        "Favicon": Markup(f'<link rel="icon" type="image/svg+xml" href="{_asset(caller, "mark.svg")}">'),
        "DefaultWallpaper": _asset(caller, "wallpaper.svg"),
        "Warnings": Markup(_warnings(caller) if logged_in else ""),
    }


def _warnings(caller: Caller) -> str:
    """What the owner has to do, for the bar to show."""
    if not settings.pending_terms(caller.instance):
        return ""
    terms = caller.instance.context_settings.get("manager_url")
    attributes = {
        "name": "user-action-required",
        "data-title": "TOS Updated",
        "data-code": "tos-updated",
        "data-detail": "Terms of services have been updated",
        "content": "TOS Updated",
        **({"data-links": terms} if isinstance(terms, str) else {}),
    }
    return "<meta " + " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items()) + ">"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode().translate(_SAFE_JSON)


def _asset(caller: Caller, name: str) -> str:
    return f"//{caller.domain}{pages.asset_path(name)}"


def _style(caller: Caller, name: str) -> str:
    return f'<link rel="stylesheet" type="text/css" href="{_asset(caller, name)}">'


def _script(caller: Caller, name: str) -> str:
    return f'<script src="{_asset(caller, name)}"></script>'
