"""`inglenook documents …`: documents of an instance, as `/data` shows and takes them (spec/10 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import App, Parameter

from inglenook.cli.invocation import Called, CommandFailed, Flag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from inglenook.kernel.permissions import Permit
    from inglenook.storage.documents.contract import Document, Reader

app = App(name="documents")

Domain = Annotated[str, Parameter(name="--domain", help="The instance; by default that of COZY_DOMAIN.")]
PAGE = 200
LARGEST = 8_000_000
"""Bytes of a document that is read from the standard input."""


@app.command
async def get(doctype: str, id: str, /, *, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """Show a document as JSON.

    Parameters
    ----------
    json
        The document is JSON in any case.
    """
    from inglenook.documents import single
    from inglenook.kernel import doctypes
    from inglenook.kernel.errors import DocumentNotFound

    doctypes.check_readable(doctype)
    instance = await call.instance(domain)
    permit = _everything()
    try:
        _, text = await instance.store.read(lambda view: single.read(view, permit, doctype, id))
    except DocumentNotFound as error:
        raise CommandFailed(f"There is no document {id} of {doctype} in {instance.domain}: {error.detail}") from None
    call.put_json(msgspec.json.decode(text))


@app.command
async def put(
    doctype: str, id: str = "", body: str = "", /, *, domain: Domain = "", json: Flag = False, call: Called
) -> None:
    """Write a document, and show its id and revision.

    BODY is a JSON object; without it the standard input is read. Without an ID the document gets one. A document
    that is there already is replaced only when the body has its _rev.
    """
    from inglenook.documents import single
    from inglenook.kernel import doctypes
    from inglenook.kernel.errors import DocumentConflict

    doctypes.check_writable(doctype)
    if id.lstrip().startswith("{"):
        id, body = "", id
    value = _object(body or await _standard_input(call))
    id, rev = id or str(value.get("_id") or ""), str(value.get("_rev") or "")
    store = (await call.instance(domain)).store
    try:
        if rev:
            written = await single.update(store, _everything(), doctype, id, rev, value)
        elif id:
            written = await single.create_with_id(store, doctype, id, value)
        else:
            written = await single.create(store, doctype, value)
    except DocumentConflict:
        wrong = f"{rev} is not its revision any more" if rev else "it is there already, and the body has no _rev"
        raise CommandFailed(f"{doctype} {id} was not written: {wrong}; inglenook documents get tells it") from None
    if json:
        call.put_json({"id": written.id, "rev": written.rev, "type": doctype})
    else:
        call.put(f"{written.id} {written.rev}")


@app.command
async def ls(doctype: str = "", /, *, domain: Domain = "", json: Flag = False, call: Called) -> None:
    """List the doctypes of an instance with their number of documents, or the documents of one.

    Parameters
    ----------
    json
        One object per line.
    """
    if not doctype:
        instance = await call.instance(domain)
        counts = await instance.store.scan(lambda view: [(name, view.status(name).live) for name in view.doctypes()])
        if json:
            for name, count in counts:
                call.put_json_line({"doctype": name, "documents": count})
        elif counts:
            call.put_table([[name, str(count)] for name, count in counts])
        return
    from inglenook.kernel import doctypes

    doctypes.check_readable(doctype)
    async for document in _all(call, domain, doctype):
        if json:
            call.put_json_line({"_id": document.id, "_rev": document.rev, **document.body})
        else:
            call.put(f"{document.id}  {document.rev}")


@app.command
async def find(
    doctype: str, selector: str, /, *, limit: int = 100, domain: Domain = "", json: Flag = False, call: Called
) -> None:
    """Show the documents that a mango SELECTOR selects, one JSON object per line. No index is needed.

    Parameters
    ----------
    limit
        How many at most.
    json
        The documents are JSON in any case.
    """
    from inglenook.kernel import doctypes, selectors

    doctypes.check_readable(doctype)
    matches = selectors.compile(selectors.normalise(_object(selector)))
    left = limit
    async for document in _all(call, domain, doctype):
        shown = {"_id": document.id, "_rev": document.rev, **document.body}
        if left > 0 and matches(document.id, shown):
            call.put_json_line(shown)
            left -= 1
        if left <= 0:
            return


async def _all(call: Called, domain: str, doctype: str) -> AsyncIterator[Document]:
    """All documents of a doctype, by their ids."""
    instance = await call.instance(domain)
    start = ""
    while True:

        def read(view: Reader, start: str = start) -> list[Document]:
            return view.all_docs(doctype, start=start, limit=PAGE)

        page = await instance.store.scan(read)
        for document in page:
            yield document
        await call.terminal.flush()
        if len(page) < PAGE:
            return
        start = page[-1].id + "\x00"


def _everything() -> Permit:
    from inglenook.kernel.permissions import MAXIMAL, Permit

    return Permit(kind="cli", rules=MAXIMAL.rules)


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise CommandFailed(f"This is not a JSON object: {error}") from None


async def _standard_input(call: Called) -> str:
    pieces: list[bytes] = []
    async for piece in call.terminal.read():
        pieces.append(piece)
        if sum(map(len, pieces)) > LARGEST:
            raise CommandFailed(f"A document has at most {LARGEST} bytes")
    return b"".join(pieces).decode("utf-8", "replace")
