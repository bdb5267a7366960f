"""What the Host header of a request designates: an instance, a web app of it, or nobody (spec/03 §1.1, §1.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inglenook.identity import registry_documents
from inglenook.identity.registry_documents import decode
from inglenook.kernel.errors import InvalidParameter
from inglenook.kernel.names import domain_name
from inglenook.storage.documents.contract import Document

if TYPE_CHECKING:
    from inglenook.environment import Config
    from inglenook.identity.instance import Instance
    from inglenook.storage.documents.contract import DocumentStore

_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class HostMatch:
    """What a Host header designates.

    `slug` is the web app of an app host, empty for the instance itself. `domain` is the name by which the instance
    was called (its domain or an alias): pages and cookies use it. `old` tells that this name is a former one:
    answer 308 to the same path on the current domain.
    """

    instance: Instance
    slug: str
    domain: str
    old: bool = False


class HostNames:
    """The hosts of a server. What was found is kept until `forget`; `opening` gives the instance of a document."""

    def __init__(self, config: Config, opening: Callable[[Document], Awaitable[Instance]]) -> None:
        self._config = config
        self._opening = opening
        self._known: dict[str, HostMatch] = {}

    def forget(self) -> None:
        """The registry has changed: look everything up anew."""
        self._known.clear()

    async def find(self, registry: DocumentStore, host: str) -> HostMatch | None:
        """What a Host header designates, None for an unknown host."""
        host = self.normal(host)
        match = self._known.get(host)
        if match is None:
            match = await self._look_up(registry, host)
            if match is None:
                return None
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[host] = match
        return match

    def normal(self, name: str) -> str:
        """A name as it stands in the registry, as far as it can be one."""
        name = name.strip().lower().rstrip(".")
        if "xn--" in name:
            try:
                name = domain_name(name)
            except InvalidParameter:
                return name
        return self._without_default_port(name)

    def check_domain(self, domain: str) -> str:
        """A domain in its normal form. Raises InvalidParameter `domain`."""
        normal = domain_name(domain)
        if self._config.subdomains == "flat" and "-" in normal.partition(".")[0]:
            raise InvalidParameter("In flat mode the first label of a domain has no hyphen", parameter="domain")
        return self._without_default_port(normal)

    async def _look_up(self, registry: DocumentStore, host: str) -> HostMatch | None:
        slug, rest = self._split(host)
        for name, app in ((rest, slug), (host, "")):
            document = (
                await registry.read(lambda view, name=name: registry_documents.by_name(view, name)) if name else None
            )
            if document is None:
                continue
            doc = decode(document)
            if doc.deleting:
                return None
            old = name == doc.old_domain and name != doc.domain and name not in doc.domain_aliases
            return HostMatch(await self._opening(document), app, doc.domain if old else name, old)
        return None

    def _split(self, host: str) -> tuple[str, str]:
        label, dot, rest = host.partition(".")
        if not dot:
            return "", ""
        if self._config.subdomains == "flat":
            own, hyphen, slug = label.partition("-")
            return (slug, f"{own}.{rest}") if hyphen and slug else ("", "")
        return label, rest

    def _without_default_port(self, name: str) -> str:
        return name.removesuffix(":80" if self._config.scheme == "http" else ":443")
