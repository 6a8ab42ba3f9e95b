"""A report to render: 17 files over three formats, their evidence computed from seeded outputs and labels.

Nothing here was converted: the file sizes follow from the layers, and the outputs are the source's with noise.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mlopt.artifact import Contract, PortContract, StoredLayer
from mlopt.choice import choose
from mlopt.model import LayerFacts, Signature, SourceModel, TensorSpec
from mlopt.report import (
    Candidate,
    DataFacts,
    Finding,
    Host,
    Interval,
    Latency,
    LayerError,
    Report,
    Severity,
    StepFacts,
    Trained,
)
from mlopt.verify import compare, identify_task, measure_source

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

#               name, kernel weights, multiply-accumulates
LAYERS = (
    ("conv2d", 432, 442_368), ("conv2d_1", 2_304, 2_359_296), ("conv2d_2", 2_304, 2_359_296),
    ("conv2d_3", 4_608, 1_179_648), ("conv2d_4", 9_216, 2_359_296), ("conv2d_5", 512, 131_072),
    ("conv2d_6", 18_432, 1_179_648), ("conv2d_7", 36_864, 2_359_296), ("conv2d_8", 2_048, 131_072),
    ("dense", 640, 640),
)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One file of the sample: how wide its weights are, how far its outputs wander, how fast it runs."""

    format: str
    precision: str
    about: str
    bits: float
    dtype: str
    activations: str
    noise: float          # standard deviation added to the logits
    ratio: float          # latency to float; nan where nothing could be timed
    failed: bool = False


def _plan() -> tuple[Planned, ...]:
    nan = float("nan")
    rows = [
        ("tflite", "float32", "The reference of the format.", 32, "float32", "float32", 0.0, 1.0),
        ("tflite", "float16", "Half the size; widens to float32 on a CPU.", 16, "float16", "float32", 0.002, 1.02),
        ("tflite", "int8-dynamic", "8-bit weights, activations as they come.", 8, "int8", "float32", 0.08, 1.27),
        ("tflite", "int8", "8-bit weights and activations, for integer hardware.", 8, "int8", "int8", 0.22, 1.30),
        ("tflite", "int16x8", "8-bit weights, 16-bit activations.", 8.1, "int8", "int16", 0.07, 2.41),
        ("tflite", "int8-weights", "8-bit weights, float arithmetic.", 8.2, "int8", "float32", 0.07, 1.0),
        ("tflite", "int4-weights", "4-bit weights, float arithmetic.", 4, "int4", "float32", 0.8, 1.62),
        ("onnx", "float32", "The reference of the format.", 32, "float32", "float32", 0.0, 1.0),
        ("onnx", "float16", "Half the size.", 16, "float16", "float16", 0.003, 1.18),
        ("onnx", "int8", "QDQ, 8-bit weights and activations.", 8, "int8", "uint8", 0.25, 0.76),
        ("onnx", "int8-weights", "8-bit weights, float arithmetic.", 8.4, "int8", "float32", 0.07, 1.05),
        ("onnx", "int4-weights", "4-bit weights in blocks.", 4, "int4", "float32", 1.1, nan),
        ("coreml", "float32", "The reference of the format.", 32, "float32", "float32", 0.0, nan),
        ("coreml", "float16", "Core ML's own default.", 16, "float16", "float16", 0.003, nan),
        ("coreml", "int8-weights", "8-bit weights.", 8, "int8", "float16", 0.07, nan),
        ("coreml", "palette-6", "6-bit palettes.", 6, "uint6-palette", "float16", 0.12, nan),
        ("coreml", "palette-4", "4-bit palettes, the smallest usual.", 4, "uint4-palette", "float16", 0.45, nan),
    ]
    failed = ("onnx", "int4-weights")
    return tuple(
        Planned(
            format=f, precision=p, about=about, bits=bits, dtype=dtype, activations=a, noise=noise, ratio=ratio,
            failed=(f, p) == failed,
        )
        for f, p, about, bits, dtype, a, noise, ratio in rows
    )


def sample_report(*, n: int = 2000, seed: int = 0, labelled: bool = True, max_drop: float = 0.01) -> Report:
    """A report as a run over a small image classifier gives it; deterministic in its arguments."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(CLASS_NAMES), n)
    logits = random.normal(0, 1.6, (n, len(CLASS_NAMES)))
    logits[np.arange(n), labels] += 5.0
    logits[:, 5] += np.where(labels == 3, 2.2, 0)       # cats look like dogs
    reference = {"label": _softmax(logits)}
    slices = {"device": np.where(np.arange(n) % 5 == 0, "tablet", "phone")}
    source = _source()
    known = labels if labelled else None
    task = identify_task(source.signature, source.output_activations, reference, known)
    candidates = []
    for planned in _plan():
        noise = random.normal(0, 1, logits.shape) * planned.noise
        noise[:, 3] -= planned.noise                     # coarse weights lose cats first
        evidence = compare(
            reference, {"label": _softmax(logits + noise)}, task=task, labels=known, slices=slices,
            class_names=CLASS_NAMES, runtime=f"{planned.format} runtime", samples="test", seed=seed,
        )
        candidate = _candidate(planned, random)
        candidates.append(candidate if planned.failed else replace(candidate, evidence=evidence, verified=True))
    choice = choose(candidates, max_drop=max_drop)
    return Report(
        source=source,
        baseline=measure_source(reference, task=task, samples="test", labels=known, seed=seed),
        data=_data(n),
        host=_host(),
        limit=choice.limit,
        candidates=choice.candidates,
        findings=(*choice.findings, *_findings()),
        class_names=CLASS_NAMES,
        seed=seed,
    )


def _candidate(planned: Planned, random: np.random.Generator) -> Candidate:
    if planned.failed:
        return Candidate(format=planned.format, precision=planned.precision, about=planned.about)
    layers = tuple(
        StoredLayer(
            name=name, op="CONV_2D" if name.startswith("conv") else "FULLY_CONNECTED", weight_dtype=planned.dtype,
            activation_dtype=planned.activations, elements=weights, bytes=round(weights * planned.bits / 8) + 64,
        )
        for name, weights, _ in LAYERS
    )
    overhead = {"tflite": 9_700, "onnx": 14_200, "coreml": 21_500}[planned.format]
    size = sum(layer.bytes for layer in layers) + overhead
    suffix = {"tflite": "tflite", "onnx": "onnx", "coreml": "mlpackage"}[planned.format]
    ratio = planned.ratio
    spread = 0.02 + 0.01 * random.random()
    is_float = planned.precision == "float32"
    return Candidate(
        format=planned.format,
        precision=planned.precision,
        about=planned.about,
        path=f"{planned.format}/resnet8-{planned.precision}.{suffix}",
        sha256=random.bytes(32).hex(),
        bytes=size,
        bytes_zipped=round(size * 0.82),
        latency=Latency(reason="Core ML does not run on Linux: time it on a Mac or a phone") if np.isnan(ratio)
        else Latency(p50_ms=1.9 * ratio, ratio=ratio, pairs=200,
                     ratio_interval=Interval(low=ratio * (1 - spread), high=ratio * (1 + spread))),
        contract=_contract(planned),
        weights_by_dtype={planned.dtype: sum(w for _, w, _ in LAYERS), "bias": 698},
        ops_by_dtype={planned.activations: 16},
        layers=layers,
        overhead_bytes=overhead,
        layer_errors=() if is_float else tuple(
            LayerError(name=name, sqnr_db=float(44 - 8 * np.log2(1 + planned.noise * 8) - i + random.normal(0, 1.5)))
            for i, (name, _, _) in enumerate(LAYERS)
        ),
        choices={"ranges": "percentile 99.99", "bias": "corrected"} if planned.precision == "int8" else {},
    )


def _contract(planned: Planned) -> Contract:
    integer = planned.activations == "int8"
    return Contract(
        inputs=(
            PortContract(
                name="image", stored_name="serving_default_image:0", shape=(None, 32, 32, 3), layout="NHWC",
                dtype="int8" if integer else "float32", scale=1.0, zero_point=-128 if integer else 0,
            ),
        ),
        outputs=(
            PortContract(
                name="label", stored_name="StatefulPartitionedCall:0", shape=(None, 10), layout="NC",
                dtype="int8" if integer else "float32", scale=1 / 256 if integer else 1.0,
                zero_point=-128 if integer else 0,
            ),
        ),
    )


def _source() -> SourceModel:
    weights = sum(w for _, w, _ in LAYERS) + 1306        # with biases and batch norm
    return SourceModel(
        path=Path("resnet8.h5"), framework="keras", container="keras-h5", loaded_by="tf_keras", digest="3f" * 32,
        file_bytes=1_034_816, weight_bytes=4 * weights, optimizer_bytes=629_328, parameters=weights,
        macs=sum(m for _, _, m in LAYERS),
        signature=Signature(
            inputs=(TensorSpec(name="image", shape=(None, 32, 32, 3), dtype="float32", layout="NHWC"),),
            outputs=(TensorSpec(name="label", shape=(None, 10), dtype="float32", layout="NC"),),
        ),
        output_activations=("softmax",),
        layers=tuple(
            LayerFacts(name=name, kind="Conv2D" if name.startswith("conv") else "Dense", parameters=w, macs=m,
                       output_shape=(None, 16))
            for name, w, m in LAYERS
        ),
    )


def _data(n: int) -> tuple[DataFacts, ...]:
    return (
        DataFacts(role="calibration", source="train.parquet", count=512, fingerprint="5c" * 32, origin="given"),
        DataFacts(role="test", source="test.parquet", count=n, fingerprint="a7" * 32, origin="given",
                  note="3 images that could not be decoded were left out"),
    )


def _host() -> Host:
    return Host(
        processor="AMD EPYC 7B13", features=("avx2", "fma"), cores=2, system="Linux 6.1 x86_64",
        versions={"mlopt": "0.1.0", "python": "3.11.9", "numpy": "2.4.6", "ai-edge-litert": "2.3.0",
                  "onnxruntime": "1.31.1", "coremltools": "9.0"},
    )


def _findings() -> tuple[Finding, ...]:
    return (
        Finding(severity=Severity.FAILURE, code="not-made", about="onnx/int4-weights",
                message="ONNX Runtime has no 4-bit convolution: 9 layers would have stayed in float"),
        Finding(severity=Severity.WARNING, code="data-unused", about="data",
                message="3 of 2,003 images in test.parquet could not be decoded: rows 17, 340 and 1,201"),
        Finding(severity=Severity.NOTE, code="not-timed", about="coreml",
                message="Core ML files were proven with the reference evaluator; their speed is unknown on Linux"),
        Finding(severity=Severity.NOTE, code="optimizer-left-out", about="source",
                message="629,328 bytes of optimizer state in the source are in no exported file"),
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def trained(report: Report) -> Report:
    """The same, as if a recipe of two steps had been carried out before; the names in it are hostile."""
    history = tuple(
        {"epoch": n, "losses": {"total": 1.0 / n}, "validation": 0.7 + 0.02 * n, "learning_rate": 1e-3, "seconds": 10.0}
        for n in range(1, 5)
    )
    steps = (
        StepFacts(
            name="slim", settings={"macs": 0.5, "epochs": 4}, seconds=75.0, epochs=4, validation_before=0.84,
            validation=0.82, validation_samples=500, macs_before=12_501_632, macs=6_100_000, parameters_before=78_666,
            parameters=41_000, nonzero=41_000, waiting=0.031, samples_per_second=900.0, history=history,
            facts={"criterion": "taylor", "groups": [{"group": "<b>conv", "before": 16, "after": 8}]},
        ),
        StepFacts(
            name="quantize", settings={"scheme": "int8"}, seconds=30.0, validation_before=0.82, validation=0.82,
            validation_samples=500, macs_before=6_100_000, macs=6_100_000, parameters_before=41_000,
            parameters=41_000, nonzero=40_000, resumed_at=120, notes=("kernels were rounded <script>",),
        ),
    )
    return replace(report, trained=Trained(
        recipe="half|ish", about="Halve it.", sha256="0" * 64, train="train.npz", train_samples=4500,
        validation_samples=500, steps=steps, seconds=105.0,
    ))
