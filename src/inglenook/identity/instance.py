"""One person's space on this server: its registry document and everything that opens with it (spec/03 §1, §4.1).

`InstanceDoc` is what the registry keeps, secrets included; `Instance` is that document together with the open
store, the contents and the services of the server, and is what every route and service gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from inglenook.identity.passphrase_hash import DEFAULT_ITERATIONS, salt_of

if TYPE_CHECKING:
    from inglenook.environment import Environment
    from inglenook.identity.instances import Instances
    from inglenook.peers.peers import Peers
    from inglenook.storage.bus import ShortLived
    from inglenook.storage.contents import Contents
    from inglenook.storage.documents.contract import DocumentStore

SETTINGS = "io.cozy.settings"
INSTANCE_SETTINGS = "io.cozy.settings.instance"
PASSPHRASE_SETTINGS = f"{SETTINGS}.passphrase"
VAULT_SETTINGS = "io.cozy.settings.bitwarden"

AUTH_MODES = {"basic": 0, "two_factor_mail": 1, "two_factor_oidc": 2}


HIDDEN = frozenset(
    {
        "passphrase_hash",
        "kdf_iterations",
        "passphrase_reset_token",
        "register_token",
        "session_secret",
        "oauth_secret",
        "cli_secret",
        "generation",
        "former_generation",
        "former_until",
    }
)
"""Members of an instance's document that are for the server alone."""


class InstanceDoc(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The registry's document of an instance (spec/03 §4.1); bytes are base64 in JSON.

    `kdf_iterations` goes with `passphrase_hash`: how browsers must hash what is compared with it (0: not at all).
    `generation` counts how often all data was replaced by an import; the data before it, `former_generation` (-1: there
    is none), is kept until `former_until`. `moving`: it is moving away, and nothing can be changed in it."""

    domain: str
    prefix: str
    domain_aliases: list[str] = []
    old_domain: str = ""
    org_domain: str = ""
    org_id: str = ""
    locale: str = "en"
    uuid: str = ""
    oidc_id: str = ""
    franceconnect_id: str = ""
    context: str = ""
    sponsorships: list[str] = []
    feature_sets: list[str] = []
    feature_flags: dict[str, Any] = {}
    tos: str = ""
    tos_latest: str = ""
    auth_mode: int = 0
    magic_link: bool = False
    deleting: bool = False
    moving: bool = False
    moved: bool = False
    blocked: bool = False
    blocking_reason: str = ""
    no_auto_update: bool = False
    onboarding_finished: bool = False
    password_defined: bool | None = None
    disk_quota: str = ""
    passphrase_hash: bytes = b""
    kdf_iterations: int = DEFAULT_ITERATIONS
    passphrase_reset_token: bytes = b""
    passphrase_reset_time: str = ""
    register_token: bytes = b""
    session_secret: bytes = b""
    oauth_secret: bytes = b""
    cli_secret: bytes = b""
    created_at: str = ""
    last_activity_from_deleted_oauth_clients: str = ""
    generation: int = 0
    former_generation: int = -1
    former_until: str = ""

    @property
    def store_name(self) -> str:
        """The name of the store with its data."""
        return store_name(self.prefix, self.generation)

    def body(self) -> dict[str, Any]:
        """The document as it is stored."""
        return msgspec.to_builtins(self)

    def public(self) -> dict[str, Any]:
        """The document without anything secret, for operators' lists; it always tells the language."""
        shown = {"domain": self.domain, "prefix": self.prefix, "locale": self.locale, **self.body()}
        return {name: value for name, value in shown.items() if name not in HIDDEN}


def store_name(prefix: str, generation: int) -> str:
    """The name of the store of a generation of the data of an instance."""
    return f"{prefix}-{generation}" if generation else prefix


class Instance:
    """An open instance.

    `id` and `rev` are those of its registry document; `doc` is replaced when that changes, so keep the instance,
    not the document. `store`, `contents`, `peers`, `ephemeral` and `env` are the services to work with.
    """

    def __init__(
        self,
        *,
        id: str,
        rev: str,
        doc: InstanceDoc,
        store: DocumentStore,
        contents: Contents,
        peers: Peers,
        ephemeral: ShortLived,
        env: Environment,
        registry: Instances,
    ) -> None:
        self.id = id
        self.rev = rev
        self.doc = doc
        self.store = store
        self.contents = contents
        self.peers = peers
        self.ephemeral = ephemeral
        self.env = env
        self.registry = registry
        self.generation = doc.generation
        """Of the data that `store` and `contents` give; `doc` may be ahead of it for a moment."""

    def __repr__(self) -> str:
        return f"Instance({self.domain})"

    # -- names and addresses
    @property
    def domain(self) -> str:
        """The domain, with its port when it is not the default one."""
        return self.doc.domain

    @property
    def prefix(self) -> str:
        """The name of its databases."""
        return self.doc.prefix

    @property
    def locale(self) -> str:
        """`en` or `fr`."""
        return self.doc.locale

    @property
    def context(self) -> str:
        """The name of its context of configuration, empty for the default one."""
        return self.doc.context

    @property
    def context_settings(self) -> Mapping[str, Any]:
        """The configuration of its context."""
        return self.env.config.context(self.doc.context)

    @property
    def origin(self) -> str:
        """`http://alice.localhost:8080`: scheme and domain, no final slash."""
        return f"{self.env.config.scheme}://{self.domain}"

    def url(self, path: str = "/", query: Mapping[str, str] | None = None, *, host: str = "") -> str:
        """The address of a page of this instance; `host` is the contextual domain, when it is an alias.

        `path` is taken as it is (percent-encode what is not plain)."""
        address = f"{self.env.config.scheme}://{host or self.domain}{path}"
        return f"{address}?{urlencode(query)}" if query else address

    def app_host(self, slug: str, *, host: str = "") -> str:
        """The host of a web app, by the mode of sub-domains (spec/03 §1.2)."""
        domain = host or self.domain
        if self.env.config.subdomains == "flat":
            label, _, rest = domain.partition(".")
            return f"{label}-{slug}.{rest}"
        return f"{slug}.{domain}"

    def app_url(
        self,
        slug: str,
        path: str = "/",
        query: Mapping[str, str] | None = None,
        fragment: str = "",
        *,
        host: str = "",
    ) -> str:
        """The address of a page of a web app."""
        address = f"{self.env.config.scheme}://{self.app_host(slug, host=host)}{path}"
        if query:
            address += "?" + urlencode(query)
        return f"{address}#{quote(fragment, safe=_FRAGMENT)}" if fragment else address

    def owns_host(self, host: str) -> bool:
        """Whether a host is this instance's domain or one of its aliases."""
        return host == self.doc.domain or host in self.doc.domain_aliases

    # -- secrets
    @property
    def session_key(self) -> bytes:
        """The key of cookies, of app tokens and of second-factor messages (spec/03 §3)."""
        return b"2:" + self.doc.session_secret

    @property
    def passphrase_salt(self) -> str:
        """The salt of the hash that browsers make of the passphrase."""
        return salt_of(self.doc.old_domain or self.doc.domain)

    # -- settings
    async def settings(self) -> dict[str, Any]:
        """The settings document with its `_id` and `_rev`; empty when there is none."""
        document = await self.store.read(lambda view: view.get(SETTINGS, INSTANCE_SETTINGS))
        return {} if document is None else {**document.body, "_id": document.id, "_rev": document.rev}

    async def public_name(self) -> str:
        """What others see as the owner's name: that of the settings, else the first label of the domain."""
        name = (await self.settings()).get("public_name")
        return name if isinstance(name, str) and name else self.domain.partition(".")[0]

    async def email(self) -> str:
        """The owner's mail address, empty when there is none."""
        email = (await self.settings()).get("email")
        return email if isinstance(email, str) else ""


_FRAGMENT = "/?:@!$&'()*+,;=-._~%#"
