"""The Content-Security-Policy of the hosts of web apps (spec/03 §12.6).

No host of a third party is in it unless the operator has put it there: in the context, `csp_allowlist` maps the name
of a directive (`script`, `frame`, `connect`, `img`, `font`, `style`, `media`, `manifest`) to sources, `disable_csp`
switches the policy off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

DATAPROXY = "dataproxy"


def headers(instance: Instance, host: str, *, ancestors: tuple[str, ...] = ()) -> dict[str, str]:
    """The header with the policy, for the contextual domain `host`; `ancestors` may show the page in a frame."""
    settings = instance.context_settings
    if settings.get("disable_csp") is True:
        return {}
    return {"content-security-policy": policy(instance, host, ancestors=ancestors)}


def policy(instance: Instance, host: str, *, ancestors: tuple[str, ...] = ()) -> str:
    """The policy itself."""
    config = instance.env.config
    parent = f"{config.scheme}://{host}"
    default = f"'self' {parent} {'ws' if config.dev else 'wss'}://{host}"
    siblings = host.partition(".")[2] if config.subdomains == "flat" else host
    office = _office(instance)

    def sources(directive: str, *own: str, office_too: bool = False) -> str:
        extra = [*_configured(instance, directive), *([office] if office_too and office else [])]
        return " ".join([*own, *extra, default])

    directives = [
        ("default-src", default),
        ("script-src", sources("script", "'wasm-unsafe-eval'", office_too=True)),
        (
            "frame-src",
            sources("frame", f"{config.scheme}://*.{siblings}", "cozydrive:", "cozybanks:", office_too=True),
        ),
        ("connect-src", sources("connect", "blob:", office_too=True)),
        ("font-src", sources("font", "data:")),
        ("img-src", sources("img", "data:", "blob:", office_too=True)),
        *((f"{name}-src", sources(name)) for name in ("manifest", "media") if _configured(instance, name)),
        ("object-src", "'none'"),
        ("style-src", sources("style", "'unsafe-inline'")),
        ("worker-src", "'self' blob:"),
        ("frame-ancestors", " ".join(["'self'", *ancestors])),
        ("base-uri", "'self'"),
        ("form-action", parent),
    ]
    return "".join(f"{name} {value};" for name, value in directives)


def origin_of(address: Any) -> str:
    """The origin of an address of the web, safe to stand in a policy; empty for anything else."""
    try:
        parts = urlsplit(address) if isinstance(address, str) else urlsplit("")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    plain = host.replace("-", "").replace(".", "")
    if parts.scheme not in ("http", "https") or not plain.isascii() or not plain.isalnum():
        return ""
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _configured(instance: Instance, directive: str) -> list[str]:
    allowed = instance.context_settings.get("csp_allowlist")
    value = cast("Mapping[str, object]", allowed).get(directive) if isinstance(allowed, Mapping) else None
    words = value.split() if isinstance(value, str) else value if isinstance(value, list | tuple) else ()
    return [str(word) for word in words if ";" not in str(word) and "," not in str(word)]


def _office(instance: Instance) -> str:
    office = instance.context_settings.get("office")
    return origin_of(cast("Mapping[str, object]", office).get("url")) if isinstance(office, Mapping) else ""
