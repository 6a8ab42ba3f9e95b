"""Damaged model files through what `mlopt profile` and `mlopt gate` do with one: measured, refused, or told as lost.

A damaged file may end the runtime's process, for the runtimes do not promise otherwise. Then that process is told as
lost, and nothing else is harmed.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from forking_process import ForkingProcess
from mutations import mutations

from mlopt.cli.exit_codes import explained
from mlopt.errors import WorkerFailed
from mlopt.exits import Exit
from mlopt.profiling.session import Settings, profile
from mlopt.profiling.targets import host
from mlopt.sandbox import Reach
from mlopt.worker import Crew, Job

PROFILED = ("tflite", "onnx")                                # on this host; what the gate opens is more
PARTS = (                                                    # of a Core ML package
    "Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin",
)
QUICK = Settings(runs=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Format -> a small residual network, as `mlopt compress` exports it."""
    from mlopt_onnx.exporter import export as export_onnx
    from mlopt_tflite.exporter import export as export_tflite

    from mlopt.testing.tiny import TinyModel, build

    folder = tmp_path_factory.mktemp("whole")
    model = TinyModel(build("small_convnet"))
    export_tflite(model, model.signature, folder / "m.tflite")
    export_onnx(model, model.signature, folder / "m.onnx")
    return {format: (folder / f"m.{format}").read_bytes() for format in PROFILED}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The same as a Core ML package."""
    from mlopt_coreml.exporter import export

    from mlopt.testing.tiny import TinyModel, build

    model = TinyModel(build("small_convnet"))
    path = tmp_path_factory.mktemp("package") / "m.mlpackage"
    export(model, model.signature, path)
    assert sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()) == sorted(PARTS)
    return path


@pytest.fixture
def hurried(monkeypatch):
    """Measurements in forks of a process that has loaded the runtimes."""
    with ForkingProcess() as process:
        monkeypatch.setattr(host, "_run", process.run)
        yield


@pytest.mark.parametrize("format", PROFILED)
def test_a_damaged_file_is_profiled_or_refused_and_leaves_nothing(
    format, whole, hurried, tmp_path, *, monkeypatch, capsys, fuzz_mutations
):
    monkeypatch.delenv("MLOPT_TRACEBACK", raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    file = tmp_path / f"m.{format}"
    codes = dict.fromkeys((Exit.DONE, Exit.BAD_INPUT, Exit.LOST), 0)
    file.write_bytes(whole[format])
    assert explained(lambda: profile([file], "host", QUICK, lambda step: None)) is Exit.DONE, capsys.readouterr().err
    for number, content in enumerate(mutations(whole[format], fuzz_mutations)):
        file.write_bytes(content)
        code = explained(lambda: profile([file], "host", QUICK, lambda step: None))
        said = capsys.readouterr().err
        assert code in codes and (code is Exit.DONE or said.startswith("mlopt: ")), (number, code, said)
        assert code is not Exit.LOST or "was ended by SIG" in said, (number, said)       # no traceback, no hang
        assert file.read_bytes() == content and list((tmp_path / "temporary").iterdir()) == [], number
        codes[code] += 1
    assert codes[Exit.DONE] and codes[Exit.BAD_INPUT], codes


@pytest.mark.parametrize("format", PROFILED)
def test_a_damaged_file_opens_for_the_gate_or_is_refused_in_our_words(
    format, whole, tmp_path, fuzz_mutations
):
    files = []
    for number, content in enumerate([whole[format], *mutations(whole[format], fuzz_mutations, seed=1)]):
        files.append(str(tmp_path / f"{number}.{format}"))
        Path(files[-1]).write_bytes(content)
    check_that_some_open_and_others_are_refused(format, files)


def test_a_damaged_core_ml_package_opens_for_the_gate_or_is_refused_in_our_words(package, tmp_path, fuzz_mutations):
    whole = [(package / part).read_bytes() for part in PARTS]
    each = -(-fuzz_mutations // len(PARTS))
    damaged = [(part, content) for part, original in zip(PARTS, whole, strict=True)
               for content in mutations(original, each, seed=2)]
    files = []
    for number, (part, content) in enumerate([(PARTS[0], whole[0]), *damaged]):
        files.append(str(tmp_path / f"{number}.mlpackage"))
        shutil.copytree(package, files[-1])
        (Path(files[-1]) / part).write_bytes(content)
    check_that_some_open_and_others_are_refused("coreml", files)


def check_that_some_open_and_others_are_refused(format, files):
    """The first file is whole, the others are damaged."""
    told = outcomes(format, files)
    assert told.keys() == set(files) and told[files[0]] == ""
    assert 0 < sum(not told[file] for file in files[1:]) < len(files) - 1
    assert all(why == "" or why.startswith(file) or "was ended by" in why for file, why in told.items())


def outcomes(format, files):
    """File -> why it does not open. Another worker goes on where one was ended; a traceback would be a bug of ours."""
    told, left = {}, list(files)
    while left:
        begun = []

        def hear(event, begun=begun):
            if "begun" in event:
                begun.append(event["begun"])
            else:
                told[event["ended"]] = event["why"]

        job = Job(task=f"opening {len(left)} files", function="opening_many:open_each",
                  arguments={"format": format, "files": left}, deadline_s=30.0 + 2.0 * len(left),
                  reach=Reach(reads=tuple(map(Path, left))))
        try:
            with Crew() as crew:
                crew.run(job, dict[str, str], hear)
        except WorkerFailed as err:
            assert getattr(err, "killed", False), f"{begun[-1]}: {err}"
            told[begun[-1]] = str(err).partition("\n")[0]
        left = [file for file in left if file not in told]
    return told
