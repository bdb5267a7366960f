"""`inglenook tools …`: what helps in looking for the cause of something (spec/03 §16)."""

from __future__ import annotations

from cyclopts import App

from inglenook.cli.invocation import Called, CommandFailed, Flag

app = App(name="tools")


@app.command(name="unxor-document-id")
async def unxor_document_id(domain: str, sharing_id: str, doc_id: str, /, *, json: Flag = False, call: Called) -> None:
    """Show the id that a document of a sharing has at the owner's, from its id at a recipient's."""
    from inglenook.kernel.xor import xor_id
    from inglenook.sharing import documents

    instance = await call.instance(domain)
    sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
    if sharing is None:
        raise CommandFailed(
            f"There is no sharing {sharing_id} in {instance.domain}; inglenook sharings ls tells which there are"
        )
    if sharing.owner:
        raise CommandFailed(f"{domain} is the owner of this sharing: its ids are the original ones")
    if not sharing.credentials:
        raise CommandFailed("This sharing has no key; it was not accepted, or it has ended")
    original = xor_id(doc_id, sharing.credentials[0].xor_key)
    if json:
        call.put_json({"id": original})
    else:
        call.put(f'ID: "{original}"')
