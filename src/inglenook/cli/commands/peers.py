"""`inglenook peers …`: what the server knows of other servers (spec/10 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App

from inglenook.cli.invocation import Called, CommandFailed, Flag

if TYPE_CHECKING:
    from datetime import datetime

app = App(name="peers")


@app.command
async def ls(*, json: Flag = False, call: Called) -> None:
    """List the other servers that this one has talked to since it was started.

    Parameters
    ----------
    json
        One object per line.
    """
    states = await call.runtime.peer_states()
    if json:
        for state in states:
            call.put_json_line(state)
        return
    rows = [["HOST", "STATE", "LATENCY", "FAILURES", "LAST SUCCESS", "NEXT TRY", "WAITING", "LAST ERROR"]]
    for state in states:
        latency = "" if state.latency_ms is None else f"{state.latency_ms:.0f} ms"
        numbers = [latency, str(state.failures), _moment(state.last_success), _moment(state.next_try)]
        rows.append([state.host, state.state, *numbers, str(state.waiting), state.last_error])
    if states:
        call.put_table(rows)
    else:
        call.say("No other server is known yet")


@app.command
async def retry(host: str, /, *, call: Called) -> None:
    """Try another server again now, and send it what waits for it."""
    if not await call.runtime.retry_peer(host):
        raise CommandFailed(f"Nothing is known of the server {host}; inglenook peers ls tells which are")
    call.say(f"{host} is tried again")


def _moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else ""
