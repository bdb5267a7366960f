"""`inglenook instances export` and `import`: an instance as an archive, and back (spec/10 §3, spec/12 §7.1, §11)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from inglenook.cli.invocation import Called, CommandFailed, Flag, Invocation
from inglenook.cli.sizes import show_size

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.moving.exports import ExportRequest
    from inglenook.moving.importing import Progress, Wanted
    from inglenook.moving.summary import Summary

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


async def import_instance(
    *words: str,
    named: Domain = "",
    force: Flag = False,
    check: Flag = False,
    undo: Flag = False,
    partial: Flag = False,
    into: Literal["", "existing"] = "",
    wait: Annotated[bool, Parameter(negative="")] = True,
    json: Flag = False,
    call: Called,
) -> int:
    """Replace everything of an instance by an archive, or add an archive to what it has.

    Give the instance and its archive: a file or several (all parts, in any order), a folder with them, the link of the
    mail, or the address of an export. What is there now is kept for a week.

    Parameters
    ----------
    force
        Do not ask.
    check
        Only look the archive through, and tell what would come of it.
    undo
        Take the data from before the last import back.
    partial
        Leave out files whose bytes are damaged, instead of refusing the archive.
    into
        With `existing` the archive is added to what is there: nothing of that is changed or deleted; a file that has
        another content comes in as a copy.
    wait
        Wait for the end; --wait=false leaves an import from a link to the server.
    json
        Show the summary as JSON.
    """
    from inglenook.identity import generations

    if not words and not named:
        raise CommandFailed("Which instance? inglenook instances import DOMAIN FILE", 2)
    instance = await call.instance(named or words[0])
    sources = words if named else words[1:]
    if undo:
        await call.confirm(f"Take the former data of {instance.domain} back?", force=force)
        await generations.take_back(instance)
        call.put(f"The former data of {instance.domain} is back")
        return 0
    if not sources:
        raise CommandFailed("Which archive? Give files, a folder or a link", 2)
    from_link = len(sources) == 1 and _is_link(sources[0])
    if not wait and (check or into or not from_link):
        raise CommandFailed("--wait=false is for an import from a link alone", 2)
    if not check and not into:
        await _ask(call, instance, force=force)
    if not wait:
        from inglenook.moving import exports, import_job

        await import_job.queue(instance, import_job.ImportRequest(exports.manifest_address(sources[0])))
        return 0
    mode = _check if check else _merge if into else _replace
    return await _import(call, instance, list(sources), mode, partial=partial, json=json)


async def _ask(call: Invocation, instance: Instance, *, force: bool) -> None:
    """Ask before something is replaced; where there are no files yet there is nothing to ask."""
    from inglenook.files.indexes import USAGE

    if await instance.store.read(lambda view: view.index_count(USAGE)):
        await call.confirm(
            f"Replace everything of {instance.domain} by the archive?", force=force, name=instance.domain
        )


Mode = Callable[["Instance", "Wanted", "Progress"], Awaitable["Summary"]]
"""What is done with an archive: looking through, adding, replacing."""


async def _check(instance: Instance, wanted: Wanted, watch: Progress) -> Summary:
    from inglenook.moving import importing

    return await importing.check(instance, wanted, watch)


async def _merge(instance: Instance, wanted: Wanted, watch: Progress) -> Summary:
    from inglenook.moving import importing

    return await importing.merge(instance, wanted, watch)


async def _replace(instance: Instance, wanted: Wanted, watch: Progress) -> Summary:
    from inglenook.moving import blocking, importing

    await blocking.block(instance, blocking.IMPORTING)
    try:
        return await importing.replace(instance, wanted, watch)
    finally:
        await blocking.unblock(instance)


async def _import(
    call: Invocation, instance: Instance, sources: list[str], mode: Mode, *, partial: bool, json: bool
) -> int:
    from inglenook.kernel.errors import DomainError
    from inglenook.moving import fetching, import_job
    from inglenook.moving import summary as summaries
    from inglenook.moving.importing import Wanted
    from inglenook.sharing import documents

    id = instance.env.random.document_id()
    folder = import_job.folder_of(instance, id)

    def watch(stage: str, done: int, total: int, documents: int = 0) -> None:
        if call.terminal.interactive:
            shown = f"{show_size(done)} of {show_size(total)}" if total else show_size(done)
            shown += f", {documents} documents" if documents else ""
            loop.call_soon_threadsafe(call.terminal.status, f"{stage}: {shown}")

    loop, started = asyncio.get_running_loop(), instance.env.clock.timestamp()
    told_source = " ".join(documents.origin_of(source) if _is_link(source) else source for source in sources)
    try:
        if len(sources) == 1 and _is_link(sources[0]):
            told = await fetching.manifest(instance, sources[0])
            fetching.check_quota(instance, told)
            paths = await fetching.parts(instance, told, folder, lambda done: watch("fetching", done, told.files_size))
        else:
            paths = await asyncio.to_thread(_archives, [call.path(source) for source in sources])
        wanted = Wanted(id, paths, told_source, partial=partial)
        summary = await mode(instance, wanted, watch)
    except (DomainError, OSError) as error:
        if mode is not _check:
            cause = error.detail if isinstance(error, DomainError) else str(error)
            await summaries.keep_failed(instance, id, told_source, started, cause)
        raise
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    if json:
        call.put_json({"id": id, **summary.body()})
    else:
        _show(call, summary, check=mode is _check)
    return 1 if summary.failed else 0


def _is_link(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _archives(paths: list[Path]) -> list[Path]:
    """The archives that paths name: files, or those in a folder."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.zip"))
            if not inside:
                raise CommandFailed(f"There is no archive in {path}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise CommandFailed(f"{path} does not exist")
    return found


def _show(call: Invocation, summary: Summary, *, check: bool) -> None:
    counts = summary.found if check else summary.imported
    for doctype, count in sorted(counts.items()):
        failed = f", {summary.failed[doctype]} failed" if summary.failed.get(doctype) else ""
        skipped = f", {summary.skipped[doctype]} left out" if summary.skipped.get(doctype) else ""
        call.put(f"{doctype}: {count}{skipped}{failed}")
    for remark in summary.remarks[:20]:
        call.say(f"{remark.path or f'{remark.doctype}/{remark.id}'}: {remark.reason}")
    if summary.remarks_count > 20:
        call.say(f"and {summary.remarks_count - 20} more")
    if summary.apps_not_installed:
        call.say(f"Apps that could not be installed: {', '.join(summary.apps_not_installed)}")
    call.put(f"{summary.state}: {show_size(summary.files_size)} of contents")


async def list_imports(domain: str, /, *, failures: str = "", json: Flag = False, call: Called) -> None:
    """Show what became of the imports of an instance, oldest first; and one that is under way.

    Parameters
    ----------
    failures
        Show all that the import with this id could not take in as it was, one JSON object on each line.
    json
        One object per line.
    """
    from inglenook.moving import jobs
    from inglenook.moving.summary import IMPORTS

    instance = await call.instance(domain)
    if failures:
        known = await instance.store.read(lambda view: view.get(IMPORTS, failures))
        content = await instance.store.read(lambda view: view.content(IMPORTS, failures))
        if known is None:
            raise CommandFailed(f"There is no import {failures} in {instance.domain}")
        if content is not None:
            async for piece in instance.contents.read(content):
                await call.terminal.write(piece)
        return
    found = await instance.store.scan(lambda view: view.all_docs(IMPORTS, limit=1000))
    for document in sorted(found, key=lambda one: str(one.body.get("started_at"))):
        body = document.body
        if json:
            call.put_json_line({"id": document.id, **body})
            continue
        call.put(f"{body.get('started_at')}  {body.get('state')}  {body.get('source')}  {document.id}")
        if body.get("error"):
            call.put(f"  {body['error']}")
        for failure in body.get("failures", []):
            what = failure.get("path") or f"{failure['doctype']}/{failure['id']}"
            call.put(f"  {what}: {failure['reason']}")
        for notice in body.get("sharings", []):
            call.put(f"  sharing {notice['sharing']}, {notice['instance']}: {notice['state']}")
    queued = await call.runtime.instances.registry.read(lambda view: jobs.of_instance(view, instance.prefix))
    for job in queued:
        if job.kind == "import":
            call.say(
                f"An import is under way: {job.stage or 'waiting'}, {show_size(job.done)} of {show_size(job.total)}"
            )


async def move(domain: str, /, *, cancel: Flag = False, force: Flag = False, json: Flag = False, call: Called) -> None:
    """Show whether an instance moves or has moved.

    Parameters
    ----------
    cancel
        Make an instance that has moved away active again, with the data that it had.
    force
        Do not ask.
    json
        One object: `state`, and with it `role` and `other`, or `none`.
    """
    from inglenook.moving import moved_address, moves

    instance = await call.instance(domain)
    if not cancel:
        current = await moves.current(instance)
        if json:
            known = {} if current is None else {"role": current.role, "other": current.other}
            call.put_json({"domain": instance.domain, "state": current.state if current else "none", **known})
        elif current is None:
            call.put(f"{instance.domain} has not moved")
        else:
            words = "moves to" if current.role == "source" else "comes from"
            call.put(f"{instance.domain} {words} {current.other}: {current.state}")
        return
    await call.confirm(f"Make {instance.domain} active again?", force=force)
    await moves.cancel(instance)
    told = await moved_address.tell_everybody(instance)
    call.put(f"{instance.domain} is active again; {told} members of sharings will be told")
