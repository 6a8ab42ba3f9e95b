"""One measurement on a device behind a transport: push, run in a fresh process, pull, check, tidy up."""

import contextlib
import hashlib
import re
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlopt import run_folder
from mlopt.errors import MloptError, ModelUnreadable
from mlopt.profiling.contract import DeviceFacts, RunRequest, RunResult
from mlopt.profiling.target import Ran, TargetLost, TargetUnusable, Transport
from mlopt.profiling.targets.bundle import measured, read_result, write_request

_SHORT_S = 30.0
_START_S = 300.0            # import, load, compile and profile on a slow board, beside the timed runs
_LARGEST_RESULT = 64 << 20  # a hundred thousand samples with a thousand operators are 3 MB


@dataclass(frozen=True, kw_only=True)
class Kit:
    """What measures on the device: `files` by their names there, of which `programs` are made executable.

    `command` gets the names of kit folder, request and result on the device, and returns the words to run.
    """

    files: Mapping[str, Path]
    command: Callable[[str, str, str], Sequence[str]]
    programs: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of all names and contents."""
        content = hashlib.sha256()
        for name, file in sorted(self.files.items()):
            content.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        return content.hexdigest()


def options(kind: str, text: str, known: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Split what stands behind `ssh:` or `adb:` into the device and its settings.

    >>> options("ssh", "pi@board:2222,python=/opt/ml/bin/python", ["python"])
    ('pi@board:2222', {'python': '/opt/ml/bin/python'})
    """
    device, *settings = text.split(",")
    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key not in known or not equals or not value:
            raise TargetUnusable(f"{kind}:{text}", f"{setting!r} is no setting of a device",
                                 f"Write {kind}:DEVICE,{'=...,'.join(known)}=...")
        found[key] = value
    return device, found


def measure_on(
    transport: Transport, file: Path, request: RunRequest, *, base: str, kit: Kit, kit_stays: bool = False,
    beside: Path | None = None,
) -> RunResult:
    """Measure `file`, and `beside` in turns with it, in a folder of its own below `base`; the folder is gone
    afterwards, also after a failure.

    With `kit_stays` the kit lies in a folder beside it, named by its digest, which stays for the next measurement and
    is compared before each. No result, a torn one, one of another request, and a process that did not end well are
    all `TargetLost`.
    """
    for each in filter(None, (file, beside)):
        if not each.is_file():
            raise ModelUnreadable(each, "there is no such file")
    request = replace(request, nonce=request.nonce or secrets.token_hex(16))
    installed = f"{base}/mlopt-kit-{kit.digest[:16]}" if kit_stays else ""
    leftovers: list[str] = []
    with _folder_on(transport, base, leftovers) as there, run_folder.temporary() as here:
        _install(transport, installed or there, kit, compare=kit_stays)
        result = _measured(transport, there, (file, beside), request, kit, kit_folder=installed or there,
                           here=here)
    return replace(result, notes=(*result.notes, *leftovers)) if leftovers else result


def _measured(
    transport: Transport, there: str, files: tuple[Path, Path | None], request: RunRequest, kit: Kit, *,
    kit_folder: str, here: Path,
) -> RunResult:
    file, beside = files
    model, asked, answer = f"{there}/model{_suffix(file)}", f"{there}/request.json", f"{there}/result.json"
    transport.push(file, model)
    second = ""
    if beside is not None:
        second = f"{there}/beside{_suffix(beside)}"
        transport.push(beside, second)
    request = replace(request, file=model, beside=second)
    transport.push(write_request(here / "request.json", request), asked)
    ran = transport.run(kit.command(kit_folder, asked, answer), timeout_s=_START_S + 8 * request.most_seconds)
    if ran.status != 0:
        raise TargetLost(f"{transport.name}, measuring {measured(file, beside)}",
                         f"the process {ended(ran.status)}{_last(ran)}",
                         _REMEDIES.get(ran.status, ""))
    _check_answer(transport, answer, ran)
    transport.pull(answer, here / "result.json")
    return read_result(here / "result.json", request, transport.name)


def _check_answer(transport: Transport, answer: str, ran: Ran) -> None:
    sized = transport.run(["sh", "-c", 'test -f "$1" && wc -c < "$1"', "sh", answer], timeout_s=_SHORT_S)
    if sized.status != 0 or not sized.out.strip().isdigit():
        raise TargetLost(transport.name, f"the measurement left no result{_last(ran)}")
    if int(sized.out) > _LARGEST_RESULT:
        raise TargetLost(transport.name, f"the result has {int(sized.out)} bytes, which no measurement has",
                         "Ask for fewer runs")


def ended(status: int) -> str:
    """How a process ended, from the status that a shell gives.

    >>> ended(7), ended(132)
    ('ended with status 7', 'was ended by SIGILL')
    """
    if status > 128:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(status - 128).name}"
    return f"ended with status {status}"


_REMEDIES = {
    126: "The device does not run programs from that folder: name another with `,folder=`",
    127: "A program or library is missing there",
    132: "The runtime uses instructions that this processor does not have: install a build for it",
    137: "The device ran out of memory, most likely",
}


@contextlib.contextmanager
def _folder_on(transport: Transport, base: str, leftovers: list[str]) -> Iterator[str]:
    """A fresh private folder below `base`. What could not be removed is told in `leftovers`, or on the error."""
    made = transport.run(["mktemp", "-d", f"{base}/mlopt.{'X' * 8}"], timeout_s=_SHORT_S)
    folder = made.out.strip()
    if made.status != 0:
        raise TargetUnusable(transport.name, f"cannot make a folder in {base}: {_said(made) or 'it gave no reason'}",
                             "Free some space there, or name another folder with `,folder=`")
    if not re.fullmatch(re.escape(base) + r"/mlopt\.\w{8}", folder):        # it is removed later with all its contents
        raise TargetUnusable(transport.name, f"its mktemp gives {folder[:200]!r}", "Its shell prints more than asked")
    try:
        yield folder
    except BaseException as err:
        problem = _remove(transport, folder)
        if problem:
            err.add_note(problem)
        raise
    problem = _remove(transport, folder)
    if problem:
        leftovers.append(problem)


def _remove(transport: Transport, folder: str) -> str:
    """Remove it; "" or why it is still there."""
    try:
        ran = transport.run(["rm", "-rf", folder], timeout_s=_SHORT_S)
    except MloptError as err:
        return f"{folder} was left behind on {transport.name}: {err}"
    return "" if ran.status == 0 else f"{folder} was left behind on {transport.name}: {_said(ran)}"


def _install(transport: Transport, folder: str, kit: Kit, *, compare: bool) -> None:
    """Push what is missing in the kit's folder on the device, or differs there; all of it without `compare`."""
    names = sorted(kit.files)
    there: dict[str, str] = {}
    if compare:
        script = 'mkdir -p "$1" && cd "$1" && shift && sha256sum "$@"'
        listed = transport.run(["sh", "-c", script, "sh", folder, *names], timeout_s=_SHORT_S)
        there = {words[1]: words[0] for line in listed.out.splitlines() if len(words := line.split(maxsplit=1)) == 2}
    for name in names:
        if there.get(name) != hashlib.sha256(kit.files[name].read_bytes()).hexdigest():
            transport.push(kit.files[name], f"{folder}/{name}")
    if kit.programs:
        _ok(transport, ["chmod", "755", *(f"{folder}/{name}" for name in kit.programs)])


def _ok(transport: Transport, command: Sequence[str]) -> None:
    ran = transport.run(command, timeout_s=_SHORT_S)
    if ran.status != 0:
        raise TargetUnusable(transport.name, f"`{' '.join(command)[:120]}` {ended(ran.status)}: {_said(ran)}")


def _suffix(file: Path) -> str:
    return file.suffix if re.fullmatch(r"\.\w{1,10}", file.suffix) else ""


def _said(ran: Ran) -> str:
    lines = [line.strip() for line in (ran.err or ran.out).splitlines() if line.strip()]
    return lines[-1][:400] if lines else ""


def _last(ran: Ran) -> str:
    said = _said(ran)
    return f"; its last words: {said}" if said else ""


def completed(result: RunResult, device: DeviceFacts) -> RunResult:
    """The result with the device's own names, and with what the runner could not tell filled in from outside."""
    own = result.facts
    facts = replace(
        own,
        name=device.name,
        system=device.system,
        processor=device.processor or own.processor,
        features=own.features or device.features,
        cores=own.cores or device.cores,
        governor=own.governor or device.governor,
        frequency_khz=own.frequency_khz or device.frequency_khz,
        temperature_c=device.temperature_c if own.temperature_c != own.temperature_c else own.temperature_c,
    )
    return replace(result, facts=facts)
