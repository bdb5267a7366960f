"""`inglenook sharings …`: share, end, and see who has what, what waits and why (spec/10 §3, spec/11 §4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from inglenook.cli.invocation import Called, CommandFailed, Flag, Invocation

if TYPE_CHECKING:
    from inglenook.replication.status import MemberStatus
    from inglenook.sharing.documents import Sharing
    from inglenook.storage.documents.contract import Reader

app = App(name="sharings")

Domain = Annotated[str, Parameter(name="--domain", help="The instance; by default that of COZY_DOMAIN.")]
PAGE = 200


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
    """Show a sharing: what is shared, who has what, what waits and why, and what can be done."""
    from inglenook.replication import status
    from inglenook.sharing import documents

    instance = await call.instance(domain)

    def read(view: Reader) -> dict[str, Any]:
        sharing = documents.get(view, sharing_id)
        if sharing is None:
            raise _unknown(sharing_id, instance.domain)
        told = status.of_sharing(view, instance, sharing)
        return {**_summary(sharing), "rules": _rules(sharing), "members": _members(sharing, told)}

    shown = await instance.store.scan(read)
    if json:
        call.put_json(shown)
        return
    call.put(f"{shown['description'] or 'A sharing'} ({shown['id']}): {shown['role']}, {shown['state']}")
    for rule in shown["rules"]:
        call.put(f"  shares {rule['title']}: {rule['doctype']}, {rule['rights']}")
    for member in shown["members"]:
        _show_member(call, member)


def _show_member(call: Invocation, member: dict[str, Any]) -> None:
    status = member["status"] + (", may only read" if member["read_only"] else "")
    shown = (str(member["index"]), member["name"], member["instance"], status)
    call.put("  " + "  ".join(filter(None, shown)))
    call.put(f"     {member['summary']}")
    error = member["last_error"]
    if error and not member["summary"].startswith(error["message"].removesuffix(".")):
        call.put(f"     {error['message']}")
    for waiting in member["waiting"]:
        call.put(f"     waits: {waiting['what']}" + (f" ({waiting['reason']})" if waiting["reason"] else ""))
    if member["next_try_at"]:
        call.put(f"     next try: {member['next_try_at'][:19].replace('T', ' ')}")
    if member["advice"]:
        call.put(f"     {member['advice']}")


@app.command
async def create(
    target: str,
    /,
    *recipients: str,
    domain: Domain = "",
    read_only: list[str] | None = None,
    description: str = "",
    open: Flag = False,
    json: Flag = False,
    call: Called,
) -> None:
    """Share a file or folder, and invite people. Prints the id of the sharing.

    Parameters
    ----------
    target
        The path of the file or folder, or its id.
    recipients
        Mail addresses, addresses of instances (https://…), or ids of contacts and groups.
    read_only
        More of them, who may only read.
    description
        By default the name of what is shared.
    open
        Let the members invite others.
    json
        The sharing, as clients see it.
    """
    from inglenook.sharing import by_command, documents

    instance = await call.instance(domain)
    wish = by_command.Wish(target, tuple(recipients), tuple(read_only or ()), description, open)
    sharing = await by_command.share(instance, wish)
    for member in sharing.members[1:]:
        call.say(f"{member.display_name or member.instance}: {member.status}")
    if json:
        call.put_json(documents.resource(sharing))
    else:
        call.put(sharing.id)


@app.command
async def revoke(
    sharing_id: str,
    /,
    *,
    domain: Domain = "",
    member: int | None = None,
    force: Flag = False,
    json: Flag = False,
    call: Called,
) -> None:
    """End a sharing for all or for one member, or leave one of somebody else.

    Parameters
    ----------
    member
        The index of the member, as `sharings show` tells it; by default the sharing ends for all.
    force
        Ask no question.
    json
        The sharing as it is afterwards.
    """
    from inglenook.sharing import by_command, documents

    instance = await call.instance(domain)
    sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
    if sharing is None:
        raise _unknown(sharing_id, instance.domain)
    what = sharing.description or sharing.id
    if member is not None:
        question = f"End the sharing {what} for {sharing.member(member).display_name}?"
    else:
        question = f"End the sharing {what} for all?" if sharing.owner else f"Leave the sharing {what}?"
    await call.confirm(question, force=force)
    ended = await by_command.revoke(instance, sharing_id, member)
    if json:
        call.put_json(_summary(ended) if ended is not None else {"id": sharing_id, "state": "deleted"})
    else:
        call.say("The members are being told" if sharing.owner else "The owner is being told")


def _unknown(sharing_id: str, domain: str) -> CommandFailed:
    return CommandFailed(f"There is no sharing {sharing_id} in {domain}; inglenook sharings ls tells which there are")


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


def _members(sharing: Sharing, told: Sequence[MemberStatus]) -> list[dict[str, Any]]:
    import msgspec

    return [
        {**msgspec.to_builtins(found), "email": member.email, "instance": member.instance}
        for member, found in zip(sharing.members, told, strict=True)
    ]
