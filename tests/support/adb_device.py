"""The device's side of adb, from the public text of its protocol: the real `adb` program talks to it over loopback.

Spoken: CNXN, AUTH (refusing), OPEN, OKAY, WRTE and CLSE; the services `shell:`, `shell,v2:`, `exec:` and `sync:` (STAT,
LIST, SEND, RECV). Commands run on this machine as the current user, in a private folder that stands for
/data/local/tmp; programs on their PATH give recorded answers for `getprop`, `dumpsys`, `am`, `logcat` and `taskset`.
Only for tests: whoever reaches the loopback port runs commands as you.
"""

import asyncio
import contextlib
import os
import signal
import stat
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from adb_shims import write_shims

_VERSION = 0x01000000        # the first: every message carries a checksum
_MOST_PAYLOAD = 256 * 1024
_HEADER = struct.Struct("<4s5I")
_TOKEN, _SIGNATURE, _PUBLIC_KEY = 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What is wrong with the device or the line to it."""

    dies_during: str = ""                # vanishes once a command with this text has printed something
    unauthorised: bool = False           # the owner has not confirmed this computer's key
    offline: bool = False                # the line is there, the device answers nothing
    stops_answering: bool = False        # connects, then ignores every request
    bytes_per_s: float = float("inf")
    free_bytes: float = float("inf")     # room left for files that are pushed


@dataclass(frozen=True, kw_only=True)
class Message:
    """One packet of the transport: a command of four letters, two arguments, a payload."""

    command: bytes
    arg0: int
    arg1: int
    data: bytes = b""

    def encode(self) -> bytes:
        """24 bytes of header (the last word is the command with all bits flipped), then the payload."""
        magic = int.from_bytes(self.command, "little") ^ 0xFFFFFFFF
        return _HEADER.pack(self.command, self.arg0, self.arg1, len(self.data), sum(self.data) & 0xFFFFFFFF,
                            magic) + self.data

    @staticmethod
    async def read(reader: asyncio.StreamReader) -> "Message":
        """The next packet of the line."""
        command, arg0, arg1, length, _, magic = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if int.from_bytes(command, "little") ^ magic != 0xFFFFFFFF or length > 1 << 20:
            raise ConnectionError(f"not an adb packet: {command!r}")
        return Message(command=command, arg0=arg0, arg1=arg1, data=await reader.readexactly(length))


@dataclass(kw_only=True)
class AdbDevice:
    """A device on 127.0.0.1:`port` while `running` lasts; `adb connect 127.0.0.1:PORT` finds it."""

    folder: Path
    shell_v2: bool = True                # False: as before Android 7, one merged output and no exit status
    faults: Faults = Faults()
    properties: Mapping[str, str] = field(default_factory=dict)      # on top of the recorded ones
    port: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _server: asyncio.Server | None = None
    _lines: "set[_Line]" = field(default_factory=set)
    _dying: "asyncio.Task[None] | None" = None

    @property
    def serial(self) -> str:
        """How adb names it."""
        return f"127.0.0.1:{self.port}"

    @property
    def tmp(self) -> Path:
        """The folder that stands for /data/local/tmp."""
        return self.folder / "tmp"

    @contextlib.contextmanager
    def running(self) -> Iterator["AdbDevice"]:
        """Serve from a thread of its own; afterwards nothing that it started is left."""
        self.tmp.mkdir(parents=True, exist_ok=True)
        write_shims(self.folder / "bin", self.properties)
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)
            self._loop.close()

    def die(self) -> None:
        """Vanish: connections break, commands end, nobody listens any more."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    def turn(self, **faults: object) -> None:
        """Change what is wrong, from now on."""
        self.faults = replace(self.faults, **faults)        # type: ignore[arg-type]  # names are checked by replace

    def start_dying(self) -> None:
        """As `die`, from the device's own thread."""
        self._dying = asyncio.get_running_loop().create_task(self._stop())

    async def _listen(self) -> None:
        # adb scans 5554 to 5585 by itself and would list the device twice: the system's free ports lie above
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for line in list(self._lines):
            line.cut()
        waiting = [task for line in list(self._lines) for task in line.tasks if task is not asyncio.current_task()]
        if waiting:
            await asyncio.wait(waiting, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(device=self, reader=reader, writer=writer)
        self._lines.add(line)
        try:
            await line.serve()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass                                    # the other side went away: nothing is left to tell it
        finally:
            line.cut()
            self._lines.discard(line)


@dataclass(kw_only=True, eq=False)
class _Line:
    """One connection from an adb server, with its streams."""

    device: AdbDevice
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    streams: "dict[int, _Stream]" = field(default_factory=dict)
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    _next_id: int = 1

    async def serve(self) -> None:
        while True:
            message = await Message.read(self.reader)
            await self._delay(len(message.data))
            if self.device.faults.offline:
                continue
            if message.command in (b"CNXN", b"AUTH"):
                await self._greet()
            elif self.device.faults.stops_answering:
                continue
            elif message.command == b"OPEN":
                self._open(message)
            elif message.command in (b"OKAY", b"WRTE", b"CLSE"):
                await self._pass_on(message)

    async def send(self, message: Message) -> None:
        await self._delay(len(message.data))
        self.writer.write(message.encode())
        await self.writer.drain()

    def cut(self) -> None:
        for stream in self.streams.values():
            stream.kill()
        for task in self.tasks:
            task.cancel()
        self.writer.transport.abort()

    async def _delay(self, count: int) -> None:
        if self.device.faults.bytes_per_s != float("inf"):
            await asyncio.sleep(count / self.device.faults.bytes_per_s)

    async def _greet(self) -> None:
        if self.device.faults.unauthorised:         # every signature and key is answered by the next challenge
            await self.send(Message(command=b"AUTH", arg0=_TOKEN, arg1=0, data=os.urandom(20)))
            return
        features = ";features=shell_v2,cmd" if self.device.shell_v2 else ""
        banner = f"device::ro.product.name=demo;ro.product.model=Demo;ro.product.device=demo{features}"
        await self.send(Message(command=b"CNXN", arg0=_VERSION, arg1=_MOST_PAYLOAD, data=banner.encode()))

    def _open(self, message: Message) -> None:
        stream = _Stream(line=self, local=self._next_id, remote=message.arg0)
        self._next_id += 1
        self.streams[stream.local] = stream
        service = message.data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        task = asyncio.get_running_loop().create_task(stream.run(service))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _pass_on(self, message: Message) -> None:
        stream = self.streams.get(message.arg1)
        if stream is None:
            if message.command != b"CLSE":
                await self.send(Message(command=b"CLSE", arg0=0, arg1=message.arg0))
        elif message.command == b"WRTE":
            stream.incoming.put_nowait(message.data)
            await self.send(Message(command=b"OKAY", arg0=stream.local, arg1=stream.remote))
        elif message.command == b"OKAY":
            stream.may_write.set()
        else:
            stream.incoming.put_nowait(None)
            stream.closed = True
            stream.may_write.set()


@dataclass(kw_only=True, eq=False)
class _Stream:
    """One service: bytes both ways, one unacknowledged WRTE at a time."""

    line: _Line
    local: int
    remote: int
    incoming: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    may_write: asyncio.Event = field(default_factory=asyncio.Event)
    closed: bool = False
    process: subprocess.Popen[bytes] | None = None
    _buffer: bytes = b""

    async def run(self, service: str) -> None:
        kind, _, argument = service.partition(":")
        try:
            if kind == "sync":
                await self._accept()
                await _sync(self, self.line.device)
            elif kind == "exec" or kind.split(",")[0] == "shell":
                await self._accept()
                await self._command(argument, framed="v2" in kind.split(","))
            await self.line.send(Message(command=b"CLSE", arg0=self.local, arg1=self.remote))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass                                    # the line is gone, and with it whoever could be told
        finally:
            self.line.streams.pop(self.local, None)

    async def _accept(self) -> None:
        self.may_write.set()
        await self.line.send(Message(command=b"OKAY", arg0=self.local, arg1=self.remote))

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), _MOST_PAYLOAD):
            await self.may_write.wait()
            if self.closed:
                raise ConnectionError("closed by the host")
            self.may_write.clear()
            await self.line.send(Message(command=b"WRTE", arg0=self.local, arg1=self.remote,
                                         data=data[start:start + _MOST_PAYLOAD]))

    async def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            chunk = await self.incoming.get()
            if chunk is None:
                raise ConnectionError("closed by the host")
            self._buffer += chunk
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    async def _command(self, command: str, *, framed: bool) -> None:
        """Run it by sh; `framed` is shell v2: packets of kind 1 output, 2 errors, 3 exit status."""
        device = self.line.device
        path = f"{device.folder / 'bin'}:{os.environ.get('PATH', os.defpath)}"
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", command], cwd=device.tmp, env={**os.environ, "PATH": path}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if framed else subprocess.STDOUT,
        )
        lock = asyncio.Lock()

        async def forward(kind: int, pipe: IO[bytes] | None) -> None:
            assert pipe is not None
            async with _reading(pipe) as reader:
                while chunk := await reader.read(1 << 15):
                    async with lock:
                        await self.write(struct.pack("<BI", kind, len(chunk)) + chunk if framed else chunk)
                        if device.faults.dies_during and device.faults.dies_during in command:
                            device.start_dying()
                            await asyncio.sleep(60)             # cancelled with the line

        outputs = [forward(1, self.process.stdout)] + ([forward(2, self.process.stderr)] if framed else [])
        try:
            await asyncio.gather(*outputs)
            while (status := self.process.poll()) is None:
                await asyncio.sleep(0.005)
        except BaseException:
            self.kill()
            raise
        if framed:
            await self.write(struct.pack("<BIB", 3, 1, status if status >= 0 else 128 - status))


@contextlib.asynccontextmanager
async def _reading(pipe: IO[bytes]) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        yield reader
    finally:
        transport.close()


async def _sync(stream: _Stream, device: AdbDevice) -> None:
    """The file service: requests of four letters, a length and a path, until QUIT."""
    while True:
        request, length = struct.unpack("<4sI", await stream.read(8))
        if request == b"QUIT":
            return
        argument = (await stream.read(length)).decode("utf-8", "surrogateescape")
        if request == b"STAT":
            await stream.write(b"STAT" + struct.pack("<3I", *_stat(Path(argument))))
        elif request == b"LIST":
            await _list(stream, Path(argument))
        elif request == b"SEND":
            await _receive(stream, device, argument)
        elif request == b"RECV":
            await _give(stream, Path(argument))
        else:
            await _fail(stream, f"unknown request {request!r}")
            return


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.lstat()
    except OSError:
        return 0, 0, 0                              # how the protocol says that there is none
    return found.st_mode, min(found.st_size, 0xFFFFFFFF), int(found.st_mtime)


async def _list(stream: _Stream, path: Path) -> None:
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            name = os.fsencode(entry.name)
            await stream.write(b"DENT" + struct.pack("<4I", *_stat(entry), len(name)) + name)
    await stream.write(b"DONE" + bytes(16))


async def _receive(stream: _Stream, device: AdbDevice, argument: str) -> None:
    """SEND `path,mode`: DATA packets until DONE with the time of change."""
    name, _, mode = argument.rpartition(",")
    path, problem = Path(name), ""
    if not path.resolve().is_relative_to(device.tmp.resolve()):
        problem = f"couldn't create file: Permission denied: {name}"
    content = b""
    while True:
        packet, length = struct.unpack("<4sI", await stream.read(8))
        if packet == b"DONE":
            break
        content += await stream.read(length)
        if len(content) > device.faults.free_bytes:
            problem = "write failed: No space left on device"
    if not problem:
        try:
            path.write_bytes(content)
            path.chmod(stat.S_IMODE(int(mode or "420")))
            os.utime(path, (length, length))
        except OSError as err:
            problem = f"couldn't create file: {err.strerror}"
    if problem:
        await _fail(stream, problem)
    else:
        await stream.write(b"OKAY" + struct.pack("<I", 0))


async def _give(stream: _Stream, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as err:
        await _fail(stream, f"open failed: {err.strerror}")
        return
    for start in range(0, len(content), 1 << 16):
        chunk = content[start:start + (1 << 16)]
        await stream.write(b"DATA" + struct.pack("<I", len(chunk)) + chunk)
    await stream.write(b"DONE" + struct.pack("<I", 0))


async def _fail(stream: _Stream, reason: str) -> None:
    text = reason.encode()
    await stream.write(b"FAIL" + struct.pack("<I", len(text)) + text)
