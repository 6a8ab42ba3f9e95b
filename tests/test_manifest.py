"""Manifests of every schema that was ever written are read; today's is written as it was promised."""

import json
from pathlib import Path

import numpy as np
import pytest

from mlopt import manifest
from mlopt.distribution import Distribution
from mlopt.manifest import AS_GIVEN, ManifestUnreadable
from mlopt.outputs import Head, OutputKind

GOLDEN = Path(__file__).parent / "golden"


def test_a_manifest_of_schema_1_is_read_for_what_still_holds():
    found = manifest.read(GOLDEN / "manifest-1.json")
    old = json.loads((GOLDEN / "manifest-1.json").read_text())
    assert found.population is None and found.schema == manifest.SCHEMA
    assert [(f.path, f.sha256, f.variant.format, f.variant.precision) for f in found.files] == [
        (f["path"], f["sha256"], f["format"], f["precision"]) for f in old["files"]]
    assert all(f.variant.recipe == AS_GIVEN and f.outputs == {} and f.confusion == () for f in found.files)
    assert found.calibration.label_counts == old["calibration"]["label_counts"]
    assert found.calibration.inputs["image"].shape == (8, 8, 3) and found.calibration.inputs["image"].channels == ()
    assert found.files[1].contract is not None and found.files[1].golden_outputs[0].shape == (4, 4)


def test_a_manifest_of_schema_1_of_a_trained_model_knows_its_recipe_by_digest(tmp_path):
    old = json.loads((GOLDEN / "manifest-1.json").read_text())
    old["lineage"]["recipe"] = "ab12"
    (tmp_path / "m.json").write_text(json.dumps(old))
    variant = manifest.read(tmp_path / "m.json").files[0].variant
    assert (variant.recipe, variant.recipe_sha256) == ("", "ab12")


def test_a_manifest_of_schema_2_is_written_back_to_the_byte():
    content = (GOLDEN / "manifest-2.json").read_bytes()
    assert manifest.to_json(manifest.read(GOLDEN / "manifest-2.json")) == content


def test_the_population_has_the_frequencies_of_its_source_and_what_the_source_made_of_it():
    found = manifest.read(GOLDEN / "manifest-2.json")
    population = found.population
    assert population is not None and population.role == "holdout"
    shares = np.array([population.samples.label_counts[c] for c in "0123"]) / population.samples.count
    np.testing.assert_allclose(shares, np.array([260, 120, 90, 30]) / 500, atol=0.02)     # as the file has them
    output = population.outputs["label"]
    assert (output.kind, output.head, output.classes, output.count) == (OutputKind.CLASSES, Head.SOFTMAX, 4, 375)
    assert sum(output.top_classes.values()) == 375 == sum(output.confidence.counts)
    pixels = Distribution.of(population.samples.inputs["image"].channels[0])
    assert pixels.count == 375 * 64 and abs(pixels.mean) < 0.05 and abs(pixels.std - 1) < 0.05      # drawn from N(0, 1)


def test_each_file_has_its_own_outputs_its_confusion_and_its_calibration_curve():
    found = manifest.read(GOLDEN / "manifest-2.json")
    assert {(f.variant.format, f.variant.precision) for f in found.files} == {("tflite", "float32"), ("tflite", "int8")}
    for file in found.files:
        confusion, curve = np.array(file.confusion), file.calibration_curve
        assert confusion.sum() == 375 == sum(step.answers for step in curve)
        assert int(np.trace(confusion)) == sum(step.right for step in curve)
        answers = {str(c): int(n) for c, n in enumerate(confusion.sum(axis=0)) if n}
        assert file.outputs["label"].top_classes == answers
    whole, eighths = (f.outputs["label"].channels for f in found.files)
    assert whole != eighths


@pytest.mark.parametrize("schema", [0, 3, "2", True, None])
def test_a_manifest_of_another_schema_is_refused(schema, tmp_path):
    content = json.loads((GOLDEN / "manifest-2.json").read_text()) | {"schema": schema}
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(ManifestUnreadable, match="this mlopt reads 1 and 2"):
        manifest.read(tmp_path / "m.json")
