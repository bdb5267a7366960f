"""`inglenook check …`: inconsistencies, one JSON object per line; exit code 1 when there are any (spec/03 §16)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from cyclopts import App

from inglenook.cli.invocation import Called, Flag

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.storage.documents.contract import Reader

app = App(name="check")

PAGE = 500

T = TypeVar("T")


@app.command
async def fs(
    domain: str,
    /,
    *,
    index_integrity: Flag = False,
    files_consistency: Flag = False,
    fail_fast: Flag = False,
    repair: Flag = False,
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
    repair
        Mend what can be mended without losing anything; what was not is left as it is, and the exit code is 1.
    json
        The findings are JSON in any case.
    """
    from inglenook.files.check import Finding, check_files
    from inglenook.files.repair import repair as mend

    instance = await call.instance(domain)
    both = index_integrity == files_consistency
    found = check_files(instance, index=both or index_integrity, contents=both or files_consistency)
    mending = (lambda finding: mend(instance, finding)) if repair else None
    return await _report(found, Finding.to_json, mending, call, fail_fast=fail_fast)


@app.command
async def shared(
    domain: str, /, *, fail_fast: Flag = False, repair: Flag = False, json: Flag = False, call: Called
) -> int:
    """Check what an instance knows of the revisions of its shared documents.

    Parameters
    ----------
    fail_fast
        Stop at the first inconsistency.
    repair
        Mend what can be mended without losing anything; what was not is left as it is, and the exit code is 1.
    json
        The findings are JSON in any case.
    """
    from inglenook.sharing.check_tracking import check_shared, repair_shared

    instance = await call.instance(domain)
    mending = (lambda finding: repair_shared(instance, finding)) if repair else None
    return await _report(check_shared(instance), dict, mending, call, fail_fast=fail_fast)


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
    return await _report(check_sharings(await call.instance(domain)), dict, None, call, fail_fast=False)


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


async def _report(
    findings: AsyncIterator[T],
    show: Callable[[T], dict[str, Any]],
    mend: Callable[[T], Awaitable[bool]] | None,
    call: Called,
    *,
    fail_fast: bool,
) -> int:
    """Tell of each finding, once it was mended when that is wanted; 1 when something is wrong in the end."""
    code = 0
    async for finding in findings:
        shown = show(finding)
        if mend is not None:
            shown["repaired"] = await mend(finding)
        code |= not shown.get("repaired", False)
        call.put_json_line(shown)
        await call.terminal.flush()
        if fail_fast:
            break
    return code
