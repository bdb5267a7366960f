"""`inglenook backup FOLDER` and `inglenook restore FOLDER` (spec/10 §3)."""

from __future__ import annotations

from inglenook.cli.invocation import Called, Flag


async def backup(folder: str, /, *, json: Flag = False, call: Called) -> int:
    """Copy everything into a folder, while the server runs.

    A folder with a former backup is brought up to date; contents that it has already are not copied again.

    Parameters
    ----------
    json
        What the backup has, as JSON.
    """
    from inglenook.web.backup import back_up

    manifest = await back_up(call.runtime, call.path(folder), call.say)
    damaged = sum(len(saved.damaged) for saved in manifest.instances)
    if json:
        call.put_json(manifest)
    else:
        call.say(f"Backup of {_count(len(manifest.instances))} in {call.path(folder)}")
    if damaged:
        call.say(f"Error: {damaged} contents are damaged or missing; `inglenook check fs DOMAIN` tells which files")
    return 1 if damaged else 0


async def restore(folder: str, /, *, force: Flag = False, call: Called) -> int:
    """Put back the instances that a backup has. They take the place of what is there of them now; others stay.

    Parameters
    ----------
    force
        Do not ask before instances are replaced.
    """
    from inglenook.web.restore import inspect
    from inglenook.web.restore import restore as put_back

    place = call.path(folder)
    manifest = await inspect(place)
    coming = {saved.prefix for saved in manifest.instances}
    present = [doc.domain for doc in await call.runtime.instances.documents() if doc.prefix in coming]
    if present:
        shown = ", ".join(present[:5]) + (" …" if len(present) > 5 else "")
        await call.confirm(
            f"Replace {_count(len(present))} ({shown}) by the backup of {manifest.finished_at}?", force=force
        )
    lacking = await put_back(call.runtime, place, manifest, call.say)
    call.say(f"Restored {_count(len(manifest.instances))}")
    if lacking:
        call.say(f"Error: the backup lacks {len(lacking)} contents; `inglenook check fs DOMAIN` tells which files")
    return 1 if lacking else 0


def _count(number: int) -> str:
    return f"{number} instance" + ("" if number == 1 else "s")
