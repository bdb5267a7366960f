"""Two Syncthing devices on this machine that share a folder: loopback only, nothing announced, nothing reported."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import aiohttp

from bench.waiting import until

PROGRAM = "syncthing"
KEY = "measuring"
FOLDER = "measured"

CONFIG = """<configuration version="36">
  <folder id="{folder_id}" label="{folder_id}" path={path} type="sendreceive" rescanIntervalS="3600"
          fsWatcherEnabled="true" fsWatcherDelayS="{delay}">
    {members}
  </folder>
  {devices}
  <gui enabled="true" tls="false"><address>127.0.0.1:{gui}</address><apikey>{key}</apikey></gui>
  <options>
    <listenAddress>tcp://127.0.0.1:{port}</listenAddress>
    <globalAnnounceEnabled>false</globalAnnounceEnabled>
    <localAnnounceEnabled>false</localAnnounceEnabled>
    <relaysEnabled>false</relaysEnabled>
    <natEnabled>false</natEnabled>
    <urAccepted>-1</urAccepted>
    <crashReportingEnabled>false</crashReportingEnabled>
    <autoUpgradeIntervalH>0</autoUpgradeIntervalH>
    <startBrowser>false</startBrowser>
    <reconnectionIntervalS>1</reconnectionIntervalS>
  </options>
</configuration>
"""


@dataclass(slots=True)
class Device:
    """One device: `home` has its configuration, `files` is the folder that it shares."""

    name: str
    home: Path
    files: Path
    port: int
    gui: int
    id: str = ""
    process: Process | None = None

    @property
    def pid(self) -> int:
        """The running process; it has children."""
        assert self.process is not None
        return self.process.pid

    def count(self) -> int:
        """Finished files in the folder."""
        with os.scandir(self.files) as entries:
            return sum(1 for entry in entries if not entry.name.startswith("."))


@dataclass(slots=True)
class Devices:
    """Both devices, connected, and a client of their API."""

    one: Device
    other: Device
    http: aiohttp.ClientSession

    @property
    def pids(self) -> tuple[int, int]:
        """The processes of both."""
        return self.one.pid, self.other.pid

    async def call(self, device: Device, method: str, path: str, **request: Any) -> Any:
        """A request to the API of a device."""
        url = f"http://127.0.0.1:{device.gui}/rest{path}"
        async with self.http.request(method, url, headers={"X-API-Key": KEY}, **request) as response:
            response.raise_for_status()
            content = await response.read()
            return await response.json() if content.strip() else None

    async def scan(self, device: Device, sub: str = "") -> None:
        """Tell a device to look for changes now; returns when it has looked."""
        await self.call(device, "POST", f"/db/scan?folder={FOLDER}" + (f"&sub={sub}" if sub else ""))

    async def connect(self, *, paused: bool) -> None:
        """Let the devices talk to each other, or not."""
        await self.call(self.one, "PATCH", f"/config/devices/{self.other.id}", json={"paused": paused})

    async def connected(self) -> bool:
        """Whether they talk."""
        connections = (await self.call(self.one, "GET", "/system/connections"))["connections"]
        return bool(connections.get(self.other.id, {}).get("connected"))


def installed() -> bool:
    """Whether the program is there (Debian: `apt-get install syncthing`)."""
    return shutil.which(PROGRAM) is not None


@contextlib.asynccontextmanager
async def two_devices(folder: Path, *, watcher_delay: int = 1) -> AsyncGenerator[Devices]:
    """Both devices, running and connected inside the context. `watcher_delay` in seconds; 10 is the default."""
    one, other = (Device(name, folder / name, folder / f"{name}-files", *_two_ports()) for name in ("one", "other"))
    devices = (one, other)
    for device in devices:
        device.files.mkdir(parents=True)
        await _run("generate", f"--home={device.home}", "--no-default-folder", "--skip-port-probing")
        device.id = await _run("serve", "--device-id", f"--home={device.home}")
    for device in devices:
        (device.home / "config.xml").write_text(_config(device, devices, watcher_delay))
    async with aiohttp.ClientSession() as http:
        pair = Devices(one, other, http)
        try:
            for device in devices:
                device.process = await asyncio.create_subprocess_exec(
                    *(PROGRAM, "serve", f"--home={device.home}", "--no-browser", "--no-upgrade", "--no-restart"),
                    stdin=DEVNULL,
                    stdout=DEVNULL,
                    stderr=DEVNULL,
                    start_new_session=True,
                )
            await until(lambda: _ready(pair), every=0.05, patience=60)
            await until(pair.connected, every=0.05, patience=60)
            yield pair
        finally:
            for device in devices:
                if device.process is not None and device.process.returncode is None:
                    device.process.terminate()
                    await device.process.wait()


async def _ready(pair: Devices) -> bool:
    try:
        for device in (pair.one, pair.other):
            if (await pair.call(device, "GET", f"/db/status?folder={FOLDER}"))["state"] != "idle":
                return False
    except aiohttp.ClientError:
        return False
    return True


def _config(device: Device, devices: tuple[Device, Device], delay: int) -> str:
    return CONFIG.format(
        folder_id=FOLDER,
        path=quoteattr(str(device.files)),
        delay=delay,
        members="".join(f'<device id="{each.id}"/>' for each in devices),
        devices="".join(
            f'<device id="{each.id}" name="{each.name}"><address>tcp://127.0.0.1:{each.port}</address></device>'
            for each in devices
        ),
        gui=device.gui,
        key=KEY,
        port=device.port,
    )


async def _run(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(PROGRAM, *words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    output, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{PROGRAM} {' '.join(words)}: {(errors or output).decode().strip()}")
    return output.decode().strip()


def _two_ports() -> tuple[int, int]:
    probes = (socket.socket(), socket.socket())
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return probes[0].getsockname()[1], probes[1].getsockname()[1]
    finally:
        for probe in probes:
            probe.close()
