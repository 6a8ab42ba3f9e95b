"""A recipe is read whole or refused with file, line and the nearest known word."""

import time

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlopt.errors import BadRequest, MloptError
from mlopt.recipe.load import RecipeInvalid, load
from mlopt.recipe.schema import recipe_schema
from mlopt.recipe.steps import Export
from mlopt.steps.distill import Distill, Student
from mlopt.steps.prune import Prune
from mlopt.steps.quantize import Quantize

HEAD = "schema: 1\nabout: A test.\n"


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path
    return write


def refusal(path) -> str:
    with pytest.raises(RecipeInvalid) as caught:
        load(path)
    return str(caught.value).replace(str(path), "FILE")


def test_a_recipe_is_read_with_its_numbers_as_written(written):
    recipe = load(written(HEAD + """steps:
  - distill: {student: {width: .5}, temperature: 2, epochs: 20, learning_rate: 1e-3, augment: [flip, shift]}
  - prune: {pattern: 2:4, epochs: 3}
  - quantize:
export:
  - {to: tflite, precision: int8}
seed: 7
"""))
    assert recipe.steps == (
        Distill(student=Student(width=0.5), temperature=2.0, epochs=20, learning_rate=0.001, augment=("flip", "shift")),
        Prune(pattern="2:4", epochs=3), Quantize(),
    )
    assert recipe.export == (Export(to="tflite", precision="int8"),) and recipe.seed == 7


@pytest.mark.parametrize(("body", "line", "said"), [
    ("steps:\n  - slim: {macs: 0.5, sparsty: 1}", 4, "`slim` has no key `sparsty`"),
    ("steps:\n  - prune:\n      sparsty: 0.5\n      epochs: 1", 5, "Did you mean `sparsity`?"),
    ("steps:\n  - prun: {sparsity: 0.5}", 4, "no step is called `prun`. Did you mean `prune`?"),
    ("steps:\n  - prune: {sparsity: 1.0, epochs: 2}", 4, "`sparsity` is above 0 and below 1; got 1.0"),
    ("steps:\n  - prune: {sparsity: .nan, epochs: 2}", 4, "got '.nan'"),
    ("steps:\n  - prune: {sparsity: 1e999, epochs: 2}", 4, "too large"),
    ("steps:\n  - finetune: {epochs: yes}", 4, "takes a whole number, at least 0; got 'yes'"),
    ("steps:\n  - finetune: {epochs: 2.5}", 4, "takes a whole number"),
    ("steps:\n  - finetune: {epochs: \"3\"}", 4, "got text in quotes: write 3"),
    ("steps:\n  - finetune: {epochs: " + "9" * 5000 + "}", 4, "takes a whole number"),
    ("steps:\n  - finetune: {epochs: [3]}", 4, "got a list"),
    ("steps:\n  - finetune: {epochs: }", 4, "got ''"),
    ("steps:\n  - finetune: {epochs: 1, schedule: cosin}", 4, "Did you mean `cosine`?"),
    ("steps:\n  - finetune: {epochs: 1, augment: [flop]}", 4, "Did you mean `flip`?"),
    ("steps:\n  - finetune: {epochs: 1, augment: [flip, flip]}", 4, "flip twice"),
    ("steps:\n  - finetune: {epochs: 1, teacher: no-such.h5}", 4, "there is no model"),
    ("steps:\n  - distill: {epochs: 1, student: half}", 4, "`student` takes a map of file, width, depth"),
    ("steps:\n  - finetune", 4, "write `- finetune: {...}`"),
    ("steps:\n  - finetune: 3", 4, "takes a map of settings"),
    ("steps:\n  - finetune: {epochs: 1}\n    prune: {epochs: 1}", 4, "a step has one name; here stand finetune, prune"),
    ("steps: []", 3, "`steps` is empty"),
    ("steps: 5", 3, "`steps` takes a list"),
    ("step: []", 3, "a recipe has no key `step`. Did you mean `steps`?"),
    ("seed: 1", 1, "needs the key `steps`"),
    ("seed: -1\nsteps:\n  - quantize: {}", 3, "`seed`"),
    ("search: {trials: 3}\nsteps:\n  - quantize: {}", 3, "not there yet"),
    ("steps:\n  - quantize: {}\nsteps:\n  - quantize: {}", 5, "`steps` stands twice, first in line 3"),
    ("steps:\n  - quantize: {}\nexport:\n  - {to: tflit, precision: int8}", 6, "Did you mean `tflite`?"),
    ("steps:\n  - quantize: {}\nexport:\n  - {to: tflite, precision: int9}", 6, "Did you mean `int8`?"),
    ("steps:\n  - quantize: {}\nexport:\n  - {to: tflite}", 6, "needs the key `precision`"),
    ("steps:\n\t- quantize: {}", 4, "a tab"),
    ("steps: &a\n  - quantize: {}", 3, "anchor or alias"),
    ("steps: !!python/object/apply:os.system ['true']", 3, "a tag"),
    ("? [a, b]\n: 1", 3, "a key is a list or a map"),
    ("steps:\n  - quantize: {}\n---\nschema: 1", 5, "a second document"),
    ("steps: " + "[" * 40, 3, "nested deeper than"),
    ("steps:\n  - quantize: {", 4, "is not YAML"),
])
def test_what_is_wrong_is_said_with_its_line(written, body, line, said):
    text = refusal(written(HEAD + body))
    assert said in text
    assert text.startswith(f"FILE:{line}: ") or "is not YAML" in said, text


@pytest.mark.parametrize(("content", "said"), [
    (b"", "is empty"),
    (b"# nothing\n", "is empty"),
    (b"\x00\x01", "binary"),
    (b"schema: 1\nabout: caf\xe9\n", "FILE:2: is not UTF-8 text: byte 0xe9"),
    (b"schema: 2\n", "FILE:1: schema is 2; this mlopt reads schema 1"),
    (b"about: x\n", "FILE:1: says no schema"),
    (b"- 1\n", "a recipe is a map"),
    (b"a: \x07\n", "is not YAML"),
    (b"#" * 70_000, "at most 65,536 bytes are read"),
])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, content, said):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    assert said in refusal(path)


def test_an_alias_bomb_costs_nothing(written):
    bomb = "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9) if i else 'x'}]\n" for i in range(30))
    began = time.perf_counter()
    assert "anchor or alias" in refusal(written(HEAD + bomb))
    assert time.perf_counter() - began < 1


def test_a_missing_file_and_an_unknown_name_say_what_there_is(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.yaml")
    with pytest.raises(BadRequest, match="Did you mean 'qat-int8'"):
        load("qat-int")


def test_the_source_can_be_one_of_several_teachers(written, tmp_path):
    (tmp_path / "big.h5").write_bytes(b"x")
    (step,) = load(written(HEAD + "steps:\n  - distill: {epochs: 1, teacher: 'source, big.h5'}")).steps
    assert step.teacher == f"source,{tmp_path}/big.h5"


def test_no_teacher_stands_alone(written):
    with pytest.raises(RecipeInvalid, match=r":4: .*stands alone"):
        load(written(HEAD + "steps:\n  - distill: {epochs: 1, teacher: 'none, source'}"))


def test_a_folder_with_a_comma_is_not_taken_for_two_teachers(tmp_path):
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b/big.h5").write_bytes(b"x")
    (tmp_path / "a,b/recipe.yaml").write_text(HEAD + "steps:\n  - distill: {epochs: 1, teacher: big.h5}")
    with pytest.raises(RecipeInvalid, match="parted by commas"):
        load(tmp_path / "a,b/recipe.yaml")


def test_a_relative_teacher_starts_at_the_recipes_folder(written, tmp_path):
    (tmp_path / "big.h5").write_bytes(b"x")
    (step,) = load(written(HEAD + "steps:\n  - distill: {epochs: 1, teacher: big.h5}")).steps
    assert step.teacher == str(tmp_path / "big.h5")


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_no_bytes_do_more_than_be_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "hostile.yaml"
    path.write_bytes(b"schema: 1\nabout: x\nsteps:" + content)
    try:
        load(path)
    except MloptError as err:
        assert str(path) in str(err)


def test_the_json_schema_takes_what_the_reader_takes_and_refuses_what_it_refuses(written):
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    good = ("steps:\n  - prune: {sparsity: 0.5, epochs: 2, augment: [flip]}\n"
            "  - distill: {epochs: 1, student: {width: 0.5}}")
    jsonschema.validate(yaml.safe_load(HEAD + good), schema)
    for bad in ("steps:\n  - prune: {sparsity: 1.0}", "steps:\n  - prune: {sparsty: 0.5}", "steps: []", "seed: 1",
                "steps:\n  - distill: {student: {heigth: 0.5}}", "steps:\n  - finetune: {schedule: cosin}"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(HEAD + bad), schema)
        refusal(written(HEAD + bad))
