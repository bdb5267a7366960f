"""The demonstration from its beginning to its end: temporary folders, servers, the story, and Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from inglenook.demo.person import Person, RequestRefused
from inglenook.demo.processes import ServerFailed, ServerProcess, two_ports
from inglenook.demo.stage import Stage
from inglenook.demo.story import Story, StoryFailed

PASSPHRASES = {"alice": "a window on the sea", "bob": "three boats and a map"}


async def demonstrate(*, check: bool = False, port: int = 0, picture: Path | None = None) -> int:
    """Play the story; gives the exit code: 0 when both sides are equal.

    Without `check` the servers stay until Ctrl-C. `port` is that of the first server, the second one has the next.
    `picture` takes what was shown, as SVG. Raises ServerFailed when there is no port.
    """
    stage = Stage(picture=picture is not None)
    ports = two_ports(port)
    folder = Path(tempfile.mkdtemp(prefix="inglenook-demo-"))
    alice, bob = (
        Person(name, ServerProcess(folder / name, port), phrase)
        for (name, phrase), port in zip(PASSPHRASES.items(), ports, strict=True)
    )
    people = (alice, bob)
    story = Story(stage, alice, bob, folder)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    equal: bool | None = None
    try:
        equal = await _unless(stop, _told(story))
        if equal is None:
            return 130
        if not check:
            _explain(stage, people)
            await stop.wait()
        return 0 if equal else 1
    finally:
        for person in people:
            await person.leave()
        await asyncio.gather(*(person.server.stop() for person in people))
        if equal is False:
            stage.note(f"What is in {folder} is kept, for a look at what went wrong.")
        else:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if picture is not None:
            stage.save(picture)


async def _told(story: Story) -> bool:
    stage = story.stage
    stage.open("Inglenook", "two people, two servers, one folder that is the same on both")
    started = time.monotonic()
    try:
        equal = await story.play()
    except (ServerFailed, StoryFailed, RequestRefused, aiohttp.ClientError, TimeoutError, KeyError) as problem:
        stage.failed(str(problem) or type(problem).__name__)
        for person in story.people:
            with contextlib.suppress(FileNotFoundError):
                stage.note(f"{person.name}'s server said last:\n{person.server.last_words()}")
        stage.verdict("The demonstration could not be finished", good=False)
        return False
    stage.note(f"All of it took {time.monotonic() - started:.0f} seconds.")
    return equal


async def _unless(stop: asyncio.Event, story: Coroutine[Any, Any, bool]) -> bool | None:
    """The result of the story; None when it was stopped first."""
    playing = asyncio.create_task(story)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([playing, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not playing.done():
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        return None
    return playing.result()


def _explain(stage: Stage, people: tuple[Person, Person]) -> None:
    logins = [(person.name, f"{person.url}/auth/login", person.passphrase) for person in people]
    program = sys.argv[0] if Path(sys.argv[0]).name == "inglenook" else "inglenook"
    commands = [
        f"INGLENOOK_DATA={person.server.data} {program} {words}"
        for person in people
        for words in (f"files tree / --domain {person.domain}", f"sharings ls --domain {person.domain}")
    ]
    commands.append(f"INGLENOOK_DATA={people[0].server.data} {program} mails")
    stage.farewell(logins, commands, "The servers run until you press Ctrl-C; then everything is deleted.")
