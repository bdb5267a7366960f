"""`inglenook files …`: files into an instance and out of it (spec/10 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from inglenook.cli.invocation import Called, CommandFailed, Flag
from inglenook.cli.sizes import show_size

if TYPE_CHECKING:
    from inglenook.files.documents import Item
    from inglenook.identity.instance import Instance
    from inglenook.storage.documents.contract import Reader

app = App(name="files")

Domain = Annotated[str, Parameter(name="--domain", help="The instance; by default that of COZY_DOMAIN.")]
Local = Annotated[str, Parameter(allow_leading_hyphen=True)]
STREAM = "-"


@app.command
async def ls(path: str = "/", /, *, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """List a folder, or show a file.

    Parameters
    ----------
    json
        One object per line.
    """
    from inglenook.files import tree

    instance = await call.instance(domain)
    item = await _at(instance, path)

    def read(view: Reader) -> list[Item]:
        return list(tree.children(view, item.id)) if item.is_directory else [item]

    found = await instance.store.scan(read)
    for item in sorted(found, key=lambda item: (item.is_file, item.name)):
        if json:
            call.put_json_line({"_id": item.id, "_rev": item.rev, **item.body})
        else:
            size = "-" if item.is_directory else show_size(item.size)
            call.put(f"{size:>10}  {item.updated_at[:16]:16}  {item.name}{'/' if item.is_directory else ''}")


@app.command(name="tree")
async def show_tree(path: str = "/", /, *, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """Show all that is below a folder.

    Parameters
    ----------
    json
        One object per line, each with its path.
    """
    from inglenook.files import tree

    instance = await call.instance(domain)

    async def show(item: Item, at: str, indent: str) -> None:
        below = await instance.store.scan(lambda view: sorted(tree.children(view, item.id), key=lambda each: each.name))
        for number, each in enumerate(below, 1):
            last = number == len(below)
            where = f"{at.rstrip('/')}/{each.name}"
            if json:
                call.put_json_line({"path": where, "type": each.body["type"], "size": each.size, "md5sum": each.md5sum})
            else:
                call.put(f"{indent}{'└── ' if last else '├── '}{each.name}{'/' if each.is_directory else ''}")
            await call.terminal.flush()
            if each.is_directory:
                await show(each, where, indent + ("    " if last else "│   "))

    top = await _at(instance, path)
    if not json:
        call.put(_absolute(path))
    if top.is_directory:
        await show(top, _absolute(path), "")


@app.command
async def put(source: Local, target: str = "/", /, *, domain: Domain = "", call: Called) -> None:
    """Copy a file or a folder into an instance.

    A SOURCE of - is the standard input; TARGET then is the path of the file. A TARGET that is a folder (or ends
    with a slash) takes the source in under its own name. What is there already is not copied again.
    """
    from inglenook.cli import transfer

    instance = await call.instance(domain)
    tally = transfer.Tally(call)
    if source == STREAM:
        item = await transfer.put_stream(instance, call.terminal.read(), _absolute(target))
        tally.moved(target, item.size)
    else:
        path = call.path(source)
        if not path.exists():
            raise CommandFailed(f"{source} does not exist")
        await transfer.put_tree(instance, path, await _place(instance, target, path.resolve().name), tally)
    call.say(tally.summary())


@app.command
async def get(source: str, target: Local = ".", /, *, domain: Domain = "", call: Called) -> None:
    """Copy a file or a folder out of an instance.

    A TARGET of - is the standard output. What is there already is not copied again.
    """
    from inglenook.cli import transfer

    instance = await call.instance(domain)
    item = await _at(instance, source)
    if target == STREAM:
        if item.is_directory:
            raise CommandFailed(f"{source} is a folder; only a file can be written to the standard output")
        async for piece in transfer.pieces_of(instance, item):
            await call.terminal.write(piece)
        return
    path = call.path(target)
    if path.is_dir() and item.name:
        path /= item.name
    tally = transfer.Tally(call)
    await transfer.get_tree(instance, item, path, tally)
    call.say(tally.summary())


@app.command
async def rm(
    path: str, /, *, domain: Domain = "", permanently: Flag = False, force: Flag = False, call: Called
) -> None:
    """Send a file or folder to the trash.

    Parameters
    ----------
    permanently
        Destroy it instead.
    force
        Do not ask.
    """
    from inglenook.files.authorship import server_stamp
    from inglenook.files.destroy import destroy
    from inglenook.files.trash import trash

    instance = await call.instance(domain)
    item = await _at(instance, path)
    if permanently:
        await call.confirm(f"Destroy {path} for good?", force=force)
        await destroy(instance.store, item)
        return
    stamp, random = server_stamp(instance), instance.env.random

    def discard(tx: Any) -> None:
        trash(tx, item, stamp, random)

    await instance.store.write(discard)


@app.command(name="exec")
async def execute(command: str, /, *, domain: Domain = "", call: Called) -> int:
    """Do something in the files of an instance, as one word for a shell: 'ls -l PATH', 'tree PATH', 'attrs PATH',
    'mkdir -p PATH', 'mv PATH TO', 'rm PATH' (into the trash).
    """
    from inglenook.cli import file_shell

    return await file_shell.execute(call, await call.instance(domain), command)


@app.command
async def usage(*, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """Show how much room the files of an instance take."""
    from inglenook.files.quota import disk_usage, quota_of

    instance = await call.instance(domain)
    used = await instance.store.scan(disk_usage)
    quota = quota_of(instance)
    shown = {"files": used.files, "versions": used.versions, "used": used.total, **({"quota": quota} if quota else {})}
    if json:
        call.put_json(shown)
    else:
        call.put_table([[name, show_size(size)] for name, size in shown.items()])


async def _at(instance: Instance, path: str) -> Item:
    from inglenook.files import tree

    found = await instance.store.read(lambda view: tree.at_path(view, _absolute(path)))
    if found is None:
        raise CommandFailed(
            f"There is no {_absolute(path)} in {instance.domain}; inglenook files ls tells what there is"
        )
    return found


async def _place(instance: Instance, target: str, name: str) -> str:
    """The path that a source with this name gets."""
    from inglenook.files import tree

    path = _absolute(target)
    there = await instance.store.read(lambda view: tree.at_path(view, path))
    into = target.endswith("/") or (there is not None and there.is_directory)
    return f"{path.rstrip('/')}/{name}" if into else path


def _absolute(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
