"""The other end of `mlopt.worker`: read one request, give up what is not needed for it, call the function, answer."""

import errno
import json
import os
import queue
import signal
import sys
import threading
import traceback
import typing
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlopt import cache, disks, isolation, plain, sandbox, worker
from mlopt.errors import MloptError, OutOfReach


def main() -> None:
    pipe = os.fdopen(int(sys.argv[1]), "wb", buffering=0)
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with lock:
            pipe.write(json.dumps(message).encode() + b"\n")

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(sys.stdin.buffer.readline())
    own = Path(request["own"])
    sys.path.extend(p for p in request["path"] if p not in sys.path)
    imported = [*sys.path, *request["plugins"]]
    reach = _held_in(request, own, imported)         # before this process has a second thread
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_hear_caller, args=[answers], daemon=True).start()
    isolation.hide(request["hides"])

    def ask(question: object) -> Any:
        send({"question": question})
        return answers.get()

    def leave(made: Path, path: Path) -> None:
        send({"leaves": made.name, "as": str(path)})
        answer = answers.get()
        if answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]), answer["path"])

    def emit(fields: dict[str, Any]) -> None:
        send({"event": plain.to_plain(fields)})

    def kept_from(err: Exception) -> OutOfReach | None:
        """What is to be said in place of `err` where we kept this process from something: no file is at fault then."""
        wanted = sandbox.refusal(err, reach, own, imported) if reach is not None else ""
        return OutOfReach(request["task"], wanted) if wanted else None

    worker.connect(worker.Line(emit=emit, ask=ask, leave=leave, own=own))
    try:
        result = _call(request["function"], request["arguments"])
        answer: dict[str, Any] = {"result": plain.to_plain(result)}
    except MloptError as err:
        answer = {"error": _told(kept_from(err) or err)}
    except MemoryError:
        answer = {"error": {"class": None, "message": "ran out of memory", "traceback": "", "killed": True}}
    except Exception as err:   # noqa: BLE001  # whatever it was goes to the caller, with its traceback
        kept = kept_from(err)
        answer = {"error": _told(kept) if kept is not None else _unexpected(err)}
    send(answer)
    pipe.close()
    sys.stdout.flush()
    os._exit(0)                # frameworks take seconds to tear down, and some crash while they do


def _held_in(request: dict[str, Any], own: Path, imported: list[str]) -> sandbox.Reach | None:
    """From here on this process reaches what its request says, beside its own folder; None where it reaches all."""
    if request["reach"] is None:
        return None
    reach = plain.from_plain(request["reach"], sandbox.Reach)
    if request["user_modules"] and reach.reads is not None:
        reach = replace(reach, reads=(*reach.reads, Path.cwd()))
    sandbox.enter(reach, own, imported)
    return reach


def _unexpected(err: Exception) -> dict[str, Any]:
    return _storage_error(err) if isinstance(err, OSError) else _bug(err)


def _told(error: MloptError) -> dict[str, Any]:
    kind = f"{type(error).__module__}:{type(error).__qualname__}"
    return {"class": kind, "message": str(error), "facts": plain.to_plain(error.facts())}


def _call(function: str, arguments: dict[str, Any]) -> Any:
    target = plain.resolve(function)
    hints = typing.get_type_hints(target)
    return target(**{name: plain.from_plain(value, hints.get(name, Any)) for name, value in arguments.items()})


def _hear_caller(answers: "queue.SimpleQueue[Any]") -> None:
    """Pass answers on. The caller holds our standard input open for as long as it lives: when it closes, we end."""
    while line := sys.stdin.buffer.readline():
        answers.put(json.loads(line))
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _storage_error(err: OSError) -> dict[str, Any]:
    if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        return _told(disks.out_of_room(err, cache.places()))
    return _bug(err)


def _bug(err: Exception) -> dict[str, Any]:
    return {"class": None, "message": f"failed with {type(err).__name__}: {err}", "traceback": traceback.format_exc()}


if __name__ == "__main__":
    main()
