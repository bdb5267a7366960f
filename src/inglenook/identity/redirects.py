"""Where a person lands after the login, and nowhere else (spec/03 §1.3, §6.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urlsplit

from inglenook.kernel.errors import BadCredentials

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

_SLUG = re.compile(r"[a-z0-9-]+\Z", re.ASCII)
APPS = "io.cozy.apps"
DEFAULT_APP = "home"

NOT_HERE = "bad url: should be subdomain"
NO_SCHEME = "bad url: bad scheme"
UNREADABLE = "bad url: could not parse"


async def landing(instance: Instance, wanted: str, host: str) -> str:
    """The complete URL to go to. `wanted` is what the visitor asked for, maybe empty; `host` the contextual domain.

    Raises BadCredentials (400, plain) for an address outside this instance and its apps."""
    if (await instance.settings()).get("import_vault") is True:
        return instance.url("/move/vault", host=host)
    if not wanted:
        return await default_landing(instance, host)
    if any(character <= " " or character in "\\\x7f" for character in wanted):
        raise BadCredentials(UNREADABLE)
    try:
        parts = urlsplit(wanted)
    except ValueError as error:
        raise BadCredentials(UNREADABLE) from error
    if not parts.scheme:
        return await _app_landing(instance, wanted, host)
    if parts.scheme not in ("http", "https"):
        raise BadCredentials(NO_SCHEME)
    where = parts.netloc.lower()
    if instance.owns_host(where):
        return parts._replace(netloc=where, fragment="").geturl() + "#="
    if is_app_host(instance, where):
        return wanted
    raise BadCredentials(NOT_HERE)


async def default_landing(instance: Instance, host: str) -> str:
    """Where one lands without a wish: the default redirection of the settings, of the context, or the app `home`."""
    wish = (await instance.settings()).get("default_redirection") or instance.context_settings.get(
        "default_redirection"
    )
    if isinstance(wish, str) and wish and "://" not in wish:
        return app_address(instance, wish, host) or instance.app_url(DEFAULT_APP, host=host)
    return instance.app_url(DEFAULT_APP, host=host)


def is_app_host(instance: Instance, where: str) -> bool:
    """Whether a host is that of a web app of this instance."""
    for domain in (instance.domain, *instance.doc.domain_aliases):
        if instance.env.config.subdomains == "flat":
            label, _, rest = domain.partition(".")
            if where.startswith(f"{label}-") and where.endswith(f".{rest}"):
                return bool(_SLUG.match(where[len(label) + 1 : -len(rest) - 1]))
        elif where.endswith(f".{domain}") and _SLUG.match(where[: -len(domain) - 1]):
            return True
    return False


def asks_consent(instance: Instance, target: str) -> str | None:
    """The client id (maybe empty) of the OAuth consent that a login leads to, None when it leads elsewhere.

    Such a login gets a short session."""
    parts: SplitResult = urlsplit(target)
    if not instance.owns_host(parts.netloc) or parts.path != "/auth/authorize":
        return None
    query = parse_qs(parts.query)
    if query.get("scope") == ["login"]:
        return None
    return query.get("client_id", [""])[0]


def leads_to_sharing(instance: Instance, target: str) -> bool:
    """Whether a login leads to the acceptance of a sharing."""
    parts = urlsplit(target)
    return instance.owns_host(parts.netloc) and parts.path == "/auth/authorize/sharing"


async def _app_landing(instance: Instance, wanted: str, host: str) -> str:
    address = app_address(instance, wanted, host)
    slug = re.split(r"[/#]", wanted, maxsplit=1)[0]
    if address and await instance.store.read(lambda view: view.get(APPS, f"{APPS}/{slug}")) is not None:
        return address
    raise BadCredentials(UNREADABLE)


def app_address(instance: Instance, wish: str, host: str) -> str:
    """The URL of `slug/path#fragment`, empty when it has no slug."""
    before, hash_sign, fragment = wish.partition("#")
    slug, slash, path = before.partition("/")
    if not _SLUG.match(slug):
        return ""
    address = f"{instance.env.config.scheme}://{instance.app_host(slug, host=host)}"
    if slash or not hash_sign:
        address += "/" + path
    return f"{address}#{fragment}" if hash_sign else address


def with_query(address: str, more: Mapping[str, str]) -> str:
    """An address with parameters added to its query; its own ones stay, all sorted by name."""
    parts = urlsplit(address)
    pairs = [*parse_qsl(parts.query, keep_blank_values=True), *more.items()]
    return parts._replace(query=urlencode(sorted(pairs, key=lambda pair: pair[0]))).geturl()


def is_on_app_host(instance: Instance, address: str) -> bool:
    """Whether a complete address is a page of one of this instance's web apps."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and is_app_host(instance, parts.netloc.lower())
