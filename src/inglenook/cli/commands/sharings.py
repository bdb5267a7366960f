"""`inglenook sharings …`: members, state, and what waits to be sent and why (spec/10 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from inglenook.cli.invocation import Called, Flag

if TYPE_CHECKING:
    from inglenook.sharing.documents import Sharing
    from inglenook.storage.documents.contract import Reader

app = App(name="sharings")

Domain = Annotated[str, Parameter(name="--domain", help="The instance; by default that of COZY_DOMAIN.")]
PAGE = 200
MOST_SHOWN = 1000
"""Documents that wait for one member, at most; beyond, only this number is told."""


@app.command
async def ls(*, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """List the sharings of an instance.

    Parameters
    ----------
    json
        One object per line.
    """
    from inglenook.sharing import documents

    instance = await call.instance(domain)
    rows = [["ID", "ROLE", "STATE", "MEMBERS", "DESCRIPTION"]]
    start = ""
    while True:

        def read(view: Reader, start: str = start) -> list[Sharing]:
            page = view.all_docs(documents.DOCTYPE, start=start, limit=PAGE)
            return [documents.of_document(document) for document in page]

        page = await instance.store.scan(read)
        for sharing in page:
            if json:
                call.put_json_line(_summary(sharing))
            else:
                shown = _summary(sharing)
                rows.append(
                    [shown["id"], shown["role"], shown["state"], str(len(sharing.members)), sharing.description]
                )
        if len(page) < PAGE:
            break
        start = page[-1].id + "\x00"
    if not json and len(rows) > 1:
        call.put_table(rows)


@app.command
async def show(sharing_id: str, /, *, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """Show a sharing: its rules, its members, and the replication to each of them."""
    from inglenook.sharing import documents

    instance = await call.instance(domain)

    def read(view: Reader) -> dict[str, Any]:
        sharing = documents.load(view, sharing_id)
        return {**_summary(sharing), "rules": _rules(sharing), "members": _members(view, sharing)}

    shown = await instance.store.scan(read)
    if json:
        call.put_json(shown)
        return
    call.put(f"{shown['description']} ({shown['id']}): {shown['role']}, {shown['state']}")
    for rule in shown["rules"]:
        call.put(f"  shares {rule['title']}: {rule['doctype']}, {rule['rights']}")
    for member in shown["members"]:
        call.put(f"  {member['status']:14}{member['name']}  {member['instance']}{_link(member.get('replication'))}")


def _summary(sharing: Sharing) -> dict[str, Any]:
    return {
        "id": sharing.id,
        "description": sharing.description,
        "role": "owner" if sharing.owner else "recipient",
        "state": "active" if sharing.active else "inactive",
        "drive": sharing.drive,
        "created_at": sharing.created_at,
        "updated_at": sharing.updated_at,
    }


def _rules(sharing: Sharing) -> list[dict[str, Any]]:
    return [
        {
            "title": rule.title,
            "doctype": rule.doctype,
            "values": list(rule.values),
            "rights": f"add {rule.add}, update {rule.update}, remove {rule.remove}",
        }
        for rule in sharing.rules
    ]


def _members(view: Reader, sharing: Sharing) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for index, member in enumerate(sharing.members):
        entry: dict[str, Any] = {
            "index": index,
            "name": member.display_name,
            "email": member.email,
            "instance": member.instance,
            "status": member.status,
            "read_only": member.read_only,
        }
        receives = index > 0 if sharing.owner else index == 0
        if sharing.active and receives and member.instance:
            entry["replication"] = _replication(view, sharing, index)
        shown.append(entry)
    return shown


def _replication(view: Reader, sharing: Sharing, index: int) -> dict[str, Any]:
    from inglenook.replication.link_state import Retry, load_state
    from inglenook.sharing import tracking

    state = load_state(view, sharing.id, index)
    since = view.checkpoint(tracking.checkpoint_of(sharing.id, index))
    waiting = len(view.record_feed(tracking.SHARED, sharing.id, since=since, limit=MOST_SHOWN))
    retries = view.records(tracking.retry_kind(sharing.id, index), limit=MOST_SHOWN)
    return {
        "phase": state.phase,
        "waiting": waiting,
        "last_success_at": state.last_success_at,
        "last_error": state.last_error,
        "last_error_at": state.last_error_at,
        "retries": [
            {"document": record.id, "attempts": retry.attempts, "reason": retry.reason}
            for record in retries
            for retry in (Retry.of(record),)
        ],
    }


def _link(replication: dict[str, Any] | None) -> str:
    if replication is None:
        return ""
    told = f"\n                {replication['phase']}, {replication['waiting']} waiting"
    if replication["last_success_at"]:
        told += f", last success {replication['last_success_at']}"
    if replication["last_error"]:
        told += f", last error {replication['last_error_at']}: {replication['last_error']}"
    for retry in replication["retries"]:
        told += f"\n                {retry['document']}: {retry['reason']} ({retry['attempts']} attempts)"
    return told
