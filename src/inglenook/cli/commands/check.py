"""`inglenook check …`: inconsistencies, one JSON object per line; exit code 1 when there are any (spec/03 §16)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from cyclopts import App

from inglenook.cli.invocation import Called, Flag

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.storage.documents.contract import Reader, Record

app = App(name="check")

PAGE = 500


@app.command
async def fs(
    domain: str,
    /,
    *,
    index_integrity: Flag = False,
    files_consistency: Flag = False,
    fail_fast: Flag = False,
    json: Flag = False,
    call: Called,
) -> int:
    """Check the files of an instance: their documents, and the contents that these name.

    Parameters
    ----------
    index_integrity
        Look at the documents only.
    files_consistency
        Look at the contents only.
    fail_fast
        Stop at the first inconsistency.
    json
        The findings are JSON in any case.
    """
    from inglenook.files.check import check_files

    instance = await call.instance(domain)
    both = index_integrity == files_consistency
    found = check_files(instance, index=both or index_integrity, contents=both or files_consistency)
    return await _report((finding.to_json() async for finding in found), call, fail_fast=fail_fast)


@app.command
async def shared(domain: str, /, *, fail_fast: Flag = False, json: Flag = False, call: Called) -> int:
    """Check what an instance knows of the revisions of its shared documents.

    Parameters
    ----------
    fail_fast
        Stop at the first inconsistency.
    json
        The findings are JSON in any case.
    """
    return await _report(check_shared(await call.instance(domain)), call, fail_fast=fail_fast)


@app.command
async def sharings(domain: str, /, *, fast: Flag = False, json: Flag = False, call: Called) -> int:
    """Check the members, the rules and the credentials of the sharings of an instance.

    Parameters
    ----------
    fast
        Look at what is on this server; nothing else is looked at in any case.
    json
        The findings are JSON in any case.
    """
    return await _report(check_sharings(await call.instance(domain)), call, fail_fast=False)


@app.command
async def triggers(domain: str, /, *, json: Flag = False, call: Called) -> int:
    """Check the triggers of an instance: it has none, what follows from a write reads the journal.

    Parameters
    ----------
    json
        The findings are JSON in any case.
    """
    await call.instance(domain)
    return 0


async def check_sharings(instance: Instance) -> AsyncIterator[dict[str, Any]]:
    """The faults of all sharings, as `sharing.check` finds them."""
    from inglenook.sharing import check, documents

    start = ""
    while True:

        def read(view: Reader, start: str = start) -> tuple[str, list[dict[str, Any]]]:
            page = view.all_docs(documents.DOCTYPE, start=start, limit=PAGE)
            found = [fault for each in page for fault in check.faults_of(view, documents.of_document(each))]
            return page[-1].id + "\x00" if len(page) == PAGE else "", found

        start, found = await instance.store.scan(read)
        for finding in found:
            yield finding
        if not start:
            return


async def check_shared(instance: Instance) -> AsyncIterator[dict[str, Any]]:
    """The tracking records that cannot be read, and those where a child's generation does not follow its parent's."""
    from inglenook.sharing.tracking import SHARED

    start = ""
    while True:

        def read(view: Reader, start: str = start) -> list[Record]:
            return view.records(SHARED, start=start, limit=PAGE)

        page = await instance.store.scan(read)
        for record in page:
            for finding in faults_of(record.id, record.body):
                yield finding
        if len(page) < PAGE:
            return
        start = page[-1].id + "\x00"


def faults_of(id: str, body: Any) -> Iterator[dict[str, Any]]:
    """What is wrong with one tracking record."""
    from inglenook.kernel.shared_tree import generation

    waiting: list[tuple[str, Any]] = [("", body.get("revisions") if isinstance(body, dict) else None)]
    while waiting:
        parent, node = waiting.pop()
        if not isinstance(node, dict) or not isinstance(node.get("rev"), str):
            yield {"type": "invalid_json", "_id": id}
            return
        rev: str = node["rev"]
        if parent and generation(rev) <= generation(parent):
            yield {"type": "invalid_revs_suite", "_id": id, "parent_rev": parent, "child_rev": rev}
        waiting += [(rev, child) for child in node.get("branches") or ()]


async def _report(findings: AsyncIterator[dict[str, Any]], call: Called, *, fail_fast: bool) -> int:
    code = 0
    async for finding in findings:
        code = 1
        call.put_json_line(finding)
        await call.terminal.flush()
        if fail_fast:
            break
    return code
