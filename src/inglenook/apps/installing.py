"""Installing, updating and removing web apps (spec/03 §12.1 to §12.3, §10.1).

The files of the new version are stored first; then one transaction changes the app's document, its permissions and
the files in use together. Until then an app that is being updated serves its old version, and an update that fails
leaves it as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from inglenook.apps import documents, manifest, sources, stored_files
from inglenook.apps.documents import APPS, ERRORED, INSTALLING, READY, UPGRADING, source_id
from inglenook.apps.manifest import Manifest
from inglenook.apps.sources import Package
from inglenook.identity import clients, permission_documents
from inglenook.identity.permission_documents import PERMISSIONS
from inglenook.identity.sessions import moment
from inglenook.kernel.errors import BadRequest, Conflict, DomainError, NotFound
from inglenook.kernel.permissions import PermissionSet
from inglenook.storage.documents.contract import Document, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

ALREADY = "Application with same slug already exists"
BUSY = "Application is being installed or updated"
LINKED = "A linked OAuth client exists for this app"
INTERRUPTED = "The server stopped before the end of the installation"
STUCK_AFTER = timedelta(minutes=15)
SUFFIX_LETTERS = 10

Told = Callable[[Document], None]
"""Is given the document of the app at each of its states."""

log = structlog.get_logger("inglenook.apps")


async def install(instance: Instance, slug: str, source: str = "", told: Told = lambda document: None) -> Document:
    """Install an app; gives its document, ready.

    Raises InvalidParameter (slug, source), Conflict (there already), NotFound, BadRequest (no manifest, or a bad
    one), UpstreamFailed, TooLarge; what fails after `told` was called the first time leaves the state `errored`."""
    slug = manifest.check_slug(slug)
    source = source or sources.default(slug)
    sources.check(source)
    await instance.store.read(lambda view: _check_free(documents.get(view, slug)))
    async with sources.opened(instance, slug, source) as package:
        wanted = _read_manifest(instance, slug, package)

        def begin(tx: Writer) -> tuple[Document, str]:
            old = documents.get(tx, slug)
            _check_free(old)
            now = instance.env.clock.timestamp()
            body = {**wanted, "source": source, "state": INSTALLING, "created_at": now, "updated_at": now}
            document = tx.put(APPS, source_id(slug), body, rev=old.rev if old else None)
            return document, stored_files.announce(tx, instance, slug)

        document, generation = await instance.store.write(begin)
        told(document)
        try:
            document = await _bring_in(instance, slug, source, wanted, package, generation)
        except BaseException as error:
            failed = await _note_failure(instance, slug, error, state=ERRORED)
            if failed is not None:
                told(failed)
            raise
    told(document)
    log.info("app installed", instance=instance.domain, slug=slug, version=document.body["version"])
    return document


async def update(
    instance: Instance,
    slug: str,
    source: str = "",
    *,
    acknowledged: bool = True,
    told: Told = lambda document: None,
) -> Document:
    """Bring an app up to date from its source, or from another one; gives its document.

    What is the same already is not touched. New rights or terms that are not `acknowledged` only set
    `available_version`. Raises as `install`, Conflict while another installation is going on."""
    document = await instance.store.read(lambda view: documents.find(view, slug))
    _check_idle(instance, document)
    had = document.body
    source = source or str(had.get("source") or "")
    sources.check(source)
    same_source = source == had.get("source")
    if same_source and source.startswith("http") and sources.digest_of(source) and documents.is_usable(had):
        told(document)
        return document
    intact = same_source and documents.is_usable(had) and not had.get("error")
    if intact and await sources.same_release(instance, source, str(had.get("version") or "")):
        told(document)
        return document
    async with sources.opened(instance, slug, source) as package:
        wanted = _read_manifest(instance, slug, package)
        if not package.is_folder and same_source and wanted["version"] == had.get("version") and not had.get("error"):
            told(document)
            return document
        if not acknowledged and _asks_for_more(instance, had, wanted):
            document = await _change(instance, slug, {"available_version": wanted["version"]})
            if document is None:
                raise NotFound(documents.NOT_INSTALLED)
            told(document)
            return document
        document, generation = await instance.store.write(lambda tx: _begin_update(tx, instance, slug))
        told(document)
        try:
            document = await _bring_in(instance, slug, source, wanted, package, generation)
        except BaseException as error:
            failed = await _note_failure(instance, slug, error, state=READY if documents.is_usable(had) else ERRORED)
            if failed is not None:
                told(failed)
            raise
    told(document)
    log.info("app updated", instance=instance.domain, slug=slug, version=document.body["version"])
    return document


async def uninstall(instance: Instance, slug: str) -> Document:
    """Remove an app; gives its last document. The links that it made stay, and open nothing any more.

    Raises NotFound, BadRequest while an OAuth client is linked to the app."""

    def remove(tx: Writer) -> tuple[Document, str]:
        document = documents.find(tx, slug)
        if clients.by_software(tx, f"registry://{slug}") is not None:
            raise BadRequest(LINKED)
        tx.delete(APPS, document.id, document.rev)
        for rights in permission_documents.all_of_source(tx, "app", source_id(slug)):
            tx.delete(PERMISSIONS, rights.id, rights.rev)
        return document, stored_files.forget_current(tx, slug)

    document, generation = await instance.store.write(remove)
    if generation:
        await stored_files.drop(instance, slug, generation)
    log.info("app removed", instance=instance.domain, slug=slug)
    return document


async def mend(instance: Instance) -> None:
    """Tidy up what a crash left in the middle of an installation or update."""

    def settle(tx: Writer) -> None:
        start = ""
        while page := documents.page(tx, start=start):
            for document in page:
                state = document.body.get("state")
                if state in (INSTALLING, UPGRADING):
                    body = {**document.body, "state": READY if state == UPGRADING else ERRORED, "error": INTERRUPTED}
                    tx.put(APPS, document.id, body, rev=document.rev)
            start = page[-1].id + "\0"

    if await instance.store.read(lambda view: view.records(stored_files.STAGED, limit=1)):
        await instance.store.write(settle)
        await stored_files.drop_abandoned(instance)


async def asked_rights(instance: Instance, slug: str, source: str = "") -> PermissionSet:
    """What an app would be allowed to do, before it is installed. Raises as `install`."""
    slug = manifest.check_slug(slug)
    async with sources.opened(instance, slug, source or sources.default(slug)) as package:
        return manifest.permissions(manifest.read(package.manifest, slug))


def direction(before: str, after: str) -> str:
    """What an update did, by the versions: `upgraded`, `downgraded`, or empty when they are the same."""
    if before == after:
        return ""
    return "downgraded" if _numbers(after) < _numbers(before) else "upgraded"


# -- private parts


async def _bring_in(
    instance: Instance, slug: str, source: str, wanted: Manifest, package: Package, generation: str
) -> Document:
    checksum = await stored_files.stage(instance, slug, generation, package)

    def finish(tx: Writer) -> tuple[Document, str]:
        document = documents.find(tx, slug)
        had = document.body
        now = instance.env.clock.timestamp()
        same = had.get("checksum") == checksum and had.get("source") == source and had.get("state") == UPGRADING
        if same:
            body = {name: value for name, value in had.items() if name not in ("error", "available_version")}
            return tx.put(APPS, document.id, {**body, "state": READY}, rev=document.rev), generation
        rights = _merged_rights(tx, slug, had if had.get("state") == UPGRADING else {}, wanted)
        permission_documents.put_for_app(tx, source_id(slug), rights, now)
        body = {
            **wanted,
            "source": source,
            "state": READY,
            "checksum": checksum,
            "created_at": had.get("created_at", now),
            "updated_at": now,
        }
        written = tx.put(APPS, document.id, body, rev=document.rev)
        return written, stored_files.make_current(tx, slug, generation)

    try:
        document, unused = await instance.store.write(finish)
    except BaseException:
        await stored_files.drop(instance, slug, generation)
        raise
    if unused:
        await stored_files.drop(instance, slug, unused)
    return document


def _begin_update(tx: Writer, instance: Instance, slug: str) -> tuple[Document, str]:
    document = documents.find(tx, slug)
    _check_idle(instance, document)
    # A first installation that failed goes on as one: it has no former rights to merge.
    state = UPGRADING if documents.is_usable(document.body) else INSTALLING
    body = {**document.body, "state": state, "updated_at": instance.env.clock.timestamp()}
    return tx.put(APPS, document.id, body, rev=document.rev), stored_files.announce(tx, instance, slug)


def _merged_rights(tx: Writer, slug: str, had: Mapping[str, Any], wanted: Manifest) -> dict[str, Any]:
    """The rules of the new manifest, with what the user has changed since the old one."""
    before: dict[str, Any] = had.get("permissions") or {}
    document = permission_documents.of_source(tx, "app", source_id(slug))
    now: dict[str, Any] = (document.body.get("permissions") or {}) if document is not None and had else before
    merged: dict[str, Any] = {}
    for title, rule in wanted["permissions"].items():
        if before.get(title) != rule:
            merged[title] = rule
        elif title in now:
            merged[title] = now[title]
    extra = {title: rule for title, rule in now.items() if title not in before and title not in merged}
    return {**merged, **extra}


def _asks_for_more(instance: Instance, had: Mapping[str, Any], wanted: Manifest) -> bool:
    other_terms = manifest.terms_version(had) != manifest.terms_version(wanted)
    other_rights = had.get("permissions") != wanted["permissions"]
    return other_terms or (other_rights and not instance.env.config.dev)


def _check_free(document: Document | None) -> None:
    """Whether there is room for an installation. One that has failed may be tried again. Raises Conflict."""
    if document is not None and document.body.get("state") != ERRORED:
        raise Conflict(ALREADY)


def _check_idle(instance: Instance, document: Document) -> None:
    if document.body.get("state") not in (INSTALLING, UPGRADING):
        return
    since = moment(document.body.get("updated_at"))
    if since is not None and instance.env.clock.now() - since < STUCK_AFTER:
        raise Conflict(BUSY)


def _read_manifest(instance: Instance, slug: str, package: Package) -> Manifest:
    """The manifest of a package. What comes from a folder gets a version of its own, since its files change without
    one."""
    wanted = manifest.read(package.manifest, slug)
    if package.is_folder:
        letters = "".join(chr(ord("a") + byte % 26) for byte in instance.env.random.bytes(SUFFIX_LETTERS))
        wanted["version"] = f"{wanted['version']}-{letters}"
    return wanted


async def _note_failure(instance: Instance, slug: str, error: BaseException, *, state: str) -> Document | None:
    match error:
        case DomainError():
            text = error.detail
        case OSError():
            text = error.strerror or str(error)
        case _:
            text = INTERRUPTED
    log.warning("app not installed", instance=instance.domain, slug=slug, error=text)
    return await _change(instance, slug, {"state": state, "error": text})


async def _change(instance: Instance, slug: str, changes: Mapping[str, Any]) -> Document | None:
    def change(tx: Writer) -> Document | None:
        document = documents.get(tx, slug)
        if document is None:  # removed meanwhile
            return None
        return tx.put(APPS, document.id, {**document.body, **changes}, rev=document.rev)

    return await instance.store.write(change)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,9}", version.partition("-")[0]))
