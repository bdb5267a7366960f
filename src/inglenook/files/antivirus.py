"""Looking for viruses in what is uploaded, where the context has an antivirus, and what may be done with a file that
has one (spec/02 §21).

    [contexts.default.antivirus]
    enabled = true
    address = "127.0.0.1:3310"            # clamd, or unix:/run/clamav/clamd.ctl
    timeout = "5m"
    max_file_size = 104857600             # bytes; larger files are not looked at
    [contexts.default.antivirus.actions]  # what may be done by status; a status that is not there allows all
    infected = ["delete"]
    [contexts.default.antivirus.notifications]
    email_on_infected = true

`antivirus_scan` in a file says what was found: `status`, `scanned_at`, `virus_name`, `error`. A file without it is
clean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inglenook.files import clamd, tree
from inglenook.files.documents import FILES, Item, members, text
from inglenook.files.settings import duration, table
from inglenook.files.store import update_item
from inglenook.identity import letters
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import Blocked, NotFound
from inglenook.storage.documents.contract import Body, Content, Reader, Writer

FIVE_MINUTES = 300.0
DEFAULT_ADDRESS = "127.0.0.1:3310"
DEFAULT_ACTIONS: Mapping[str, Sequence[str]] = {"infected": ("delete",)}
TRIES = 3
TOLD_BY_MAIL = ("infected", "skipped", "error")
SCAN = "antivirus_scan"


@dataclass(frozen=True, slots=True)
class Antivirus:
    """The antivirus of a context: where its daemon listens, seconds for one file, the bytes of the largest file that
    is looked at (0: any), the allowed actions by status, whether people are told by mail."""

    address: str = DEFAULT_ADDRESS
    seconds: float = FIVE_MINUTES
    most_bytes: int = 0
    actions: Mapping[str, Sequence[str]] = field(default_factory=lambda: DEFAULT_ACTIONS)
    mails: bool = False


def antivirus_of(instance: Instance) -> Antivirus | None:
    """The antivirus of an instance, None when its context has none."""
    settings = table(instance.context_settings, "antivirus")
    if settings.get("enabled") is not True:
        return None
    actions = settings.get("actions")
    most = settings.get("max_file_size")
    return Antivirus(
        text(settings.get("address")) or DEFAULT_ADDRESS,
        duration(settings.get("timeout")) or FIVE_MINUTES,
        most if isinstance(most, int) and not isinstance(most, bool) else 0,
        _actions(actions) if isinstance(actions, dict) else DEFAULT_ACTIONS,
        table(settings, "notifications").get("email_on_infected") is True,
    )


def require_clean(instance: Instance, item: Item, action: str) -> None:
    """Refuse an action (`download`, `share`, `preview`, `delete`) on a file that the antivirus blocks for it.

    Raises Blocked."""
    scan = members(item.body.get(SCAN))
    status = text(scan.get("status")).lower()
    if not status or not item.is_file:
        return
    antivirus = antivirus_of(instance)
    if antivirus is None:
        return
    allowed = antivirus.actions.get(status)
    if allowed is None or action in allowed:
        return
    detail = f"Action '{action}' is blocked for files with antivirus status '{status}'"
    virus = text(scan.get("virus_name"))
    if status == "infected" and virus:
        detail += f" (detected: {virus})"
    raise Blocked(detail, code="antivirus_blocked")


def is_blocked(instance: Instance, item: Item, action: str) -> bool:
    """Whether the antivirus blocks a file for an action."""
    try:
        require_clean(instance, item, action)
    except Blocked:
        return True
    return False


def waits_for_scan(item: Item) -> bool:
    """Whether a file has not been looked at since its content changed."""
    return item.is_file and members(item.body.get(SCAN)).get("status") in (None, "pending")


async def scan_file(instance: Instance, id: str) -> None:
    """Look at a file, if nobody has, and write what was found; nothing is written when its content has changed
    meanwhile. Raises `clamd.ScanFailed` when the daemon gives no answer."""
    antivirus = antivirus_of(instance)
    if antivirus is None:
        return

    def begin(tx: Writer) -> tuple[Item, Content] | None:
        item = tree.get(tx, id)
        if item is None or not waits_for_scan(item):
            return None
        content = tx.content(FILES, id)
        if content is None:
            return None
        if SCAN not in item.body:
            item = update_item(tx, item, {**item.body, SCAN: {"status": "pending"}})
        return item, content

    begun = await instance.store.write(begin)
    if begun is None:
        return
    _, content = begun
    await write_result(instance, antivirus, id, content, await _look(instance, antivirus, content))


async def give_up(instance: Instance, id: str, reason: str) -> None:
    """Say of a file that it could not be looked at."""
    antivirus = antivirus_of(instance)
    content = await instance.store.read(lambda view: view.content(FILES, id))
    if antivirus is not None and content is not None:
        await write_result(instance, antivirus, id, content, {"status": "error", "error": reason})


async def _look(instance: Instance, antivirus: Antivirus, content: Content) -> dict[str, Any]:
    if antivirus.most_bytes and content.size > antivirus.most_bytes:
        return {"status": "skipped"}
    try:
        virus = await clamd.scan(antivirus.address, instance.contents.read(content), antivirus.seconds)
    except NotFound:
        return {"status": "error", "error": "the content is lost"}
    return {"status": "infected", "virus_name": virus} if virus else {"status": "clean"}


async def write_result(
    instance: Instance, antivirus: Antivirus, id: str, content: Content, result: dict[str, Any]
) -> None:
    """Write a result into the file, and a letter to the owner where that is wanted."""
    now = instance.env.clock.now()
    scan = {**result, "scanned_at": instance.env.clock.timestamp()}

    def write(tx: Writer) -> None:
        item = tree.get(tx, id)
        if item is None or not waits_for_scan(item) or tx.content(FILES, id) != content:
            return
        body: Body = {**item.body, SCAN: scan}
        update_item(tx, item, body)
        if antivirus.mails and scan["status"] in TOLD_BY_MAIL:
            values = {"FileName": item.name, "Status": scan["status"], "VirusName": scan.get("virus_name", "")}
            letters.post(tx, "notifications_antivirus", values, now.timestamp())

    await instance.store.write(write)


def lacks_scan(view: Reader, id: str) -> bool:
    """Whether a file is there and waits to be looked at."""
    item = tree.get(view, id)
    return item is not None and waits_for_scan(item)


def _actions(actions: Mapping[Any, Any]) -> dict[str, Sequence[str]]:
    return {
        str(status).lower(): tuple(str(action).lower() for action in allowed)
        for status, allowed in actions.items()
        if isinstance(allowed, list)
    }
