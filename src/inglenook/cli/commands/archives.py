"""`inglenook instances export` and `import`: an instance as an archive, and back (spec/10 §3, spec/12 §7.1, §11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from inglenook.cli.invocation import Called, CommandFailed, Flag, Invocation
from inglenook.cli.sizes import show_size

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.moving.exports import ExportRequest

Domain = Annotated[str, Parameter(name="--domain", help="The instance, when it is not the first word.")]
STREAM = "-"


async def export_instance(
    domain: str = "",
    /,
    *,
    output: str = "",
    path: str = "",
    doctype: Annotated[tuple[str, ...], Parameter(name="--doctype", negative="")] = (),
    with_secrets: Flag = False,
    named: Domain = "",
    call: Called,
) -> None:
    """Make an archive of everything of an instance.

    With neither --output nor --path, the owner is sent a mail with a link when the archive is ready.

    Parameters
    ----------
    output
        Write the archive into this file; - is the standard output.
    path
        Write the parts of the archive into this folder.
    doctype
        Only documents of this type; may be given several times.
    with_secrets
        With the credentials of OAuth clients and sharings. Keep such an archive in a safe place.
    """
    from inglenook.kernel.doctypes import is_name
    from inglenook.moving import jobs
    from inglenook.moving.exports import ExportRequest

    if output and path:
        raise CommandFailed("Give --output for one file, or --path for a folder", 2)
    if wrong := next((name for name in doctype if not is_name(name)), ""):
        raise CommandFailed(f"{wrong} is not a name of a doctype", 2)
    instance = await call.instance(domain or named)
    asked = ExportRequest(doctypes=tuple(sorted(set(doctype))), secrets=with_secrets)
    if output:
        await _into_file(call, instance, asked, output)
    elif path:
        await _into_folder(call, instance, asked, call.path(path))
    else:
        if with_secrets:
            raise CommandFailed("Secrets are not sent by mail: give --output or --path", 2)
        await jobs.queue(instance, "export", {"doctypes": list(asked.doctypes)})


async def _into_file(call: Invocation, instance: Instance, asked: ExportRequest, output: str) -> None:
    from inglenook.moving import exporting, parts

    document, part = await exporting.export_in_one(instance, asked)
    try:
        pieces = _watched(call, parts.read(instance.contents, part), part.size)
        if output == STREAM:
            async for piece in pieces:
                await call.terminal.write(piece)
        else:
            await _write(call.path(output), pieces)
    finally:
        await exporting.drop(instance, document.id)
    counts = document.body
    call.say(
        f"{counts['documents_count']} documents, {counts['files_count']} contents of files, {show_size(part.size)}"
    )


async def _into_folder(call: Invocation, instance: Instance, asked: ExportRequest, folder: Path) -> None:
    from inglenook.moving import exporting, parts

    if not await asyncio.to_thread(folder.is_dir):
        raise CommandFailed(f"There is no folder {folder}")
    document = await exporting.export(instance, asked, mail=False)
    try:
        kept = await instance.store.read(lambda view: parts.parts_of(view, document.id))
        for number, part in enumerate(kept):
            name = f"{instance.domain} - part{number:03d}.zip"
            await _write(folder / name, _watched(call, parts.read(instance.contents, part), part.size))
            call.put(f"Exporting archive {number + 1}/{len(kept)} ({name})... ✅")
    finally:
        await exporting.drop(instance, document.id)


async def _write(target: Path, pieces: AsyncIterator[bytes]) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = target.with_name(f".{target.name}.part")
    try:
        file = await asyncio.to_thread(partial.open, "wb")
        with file:
            await asyncio.to_thread(partial.chmod, 0o600)
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(partial.replace, target)
    finally:
        await asyncio.to_thread(partial.unlink, missing_ok=True)


async def _watched(call: Invocation, pieces: AsyncIterator[bytes], total: int) -> AsyncIterator[bytes]:
    """The pieces, while a person who watches is told how far they are."""
    done = 0
    async for piece in pieces:
        yield piece
        done += len(piece)
        if call.terminal.interactive:
            call.terminal.status(f"{show_size(done)} of {show_size(total)}")
