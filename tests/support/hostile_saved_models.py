"""SavedModel folders that try to write or read a file as they are opened, or as their signature runs.

Each is a real export, some changed afterwards by an edit of the stored graph, as an attacker would.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.trackable.resource import TrackableResource

v1 = tf.compat.v1


def saved_models(folder: Path, mark: Path, secret: Path) -> Iterator[tuple[str, Path]]:
    """(name, folder) of each kind; `mark` is made by those that run, `secret` is what others try to read."""
    for name, signature in signatures(mark, secret).items():
        yield f"saved-model-{name}", exported(folder / name, signature)
    for name, thing in objects(mark, secret).items():
        path = folder / name
        module = _module(tf.identity)
        module.thing = thing
        tf.saved_model.save(module, str(path), signatures=module.serve)
        yield f"saved-model-{name}", path
    for name, change in changes_of_assets(secret).items():
        path = folder / name
        module = _module(tf.identity)
        module.table = table(folder / f"{name}.txt")
        tf.saved_model.save(module, str(path), signatures=module.serve)
        change(path)
        yield f"saved-model-{name}", path
    for name, build in graphs(mark, secret).items():
        yield f"saved-model-v1-{name}", build(folder / f"v1-{name}")


def _module(function: Callable[[Any], Any]) -> tf.Module:
    module = tf.Module()
    module.weights = tf.Variable(tf.ones((4, 2)))

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def serve(x: Any) -> Any:
        return {"y": tf.matmul(function(x), module.weights)}

    module.serve = serve
    return module


def exported(path: Path, function: Callable[[Any], Any]) -> Path:
    module = _module(function)
    tf.saved_model.save(module, str(path), signatures=module.serve)
    return path


def signatures(mark: Path, secret: Path) -> dict[str, Callable[[Any], Any]]:
    """What a serving function does beside its work."""

    def with_effect(effect: Callable[[], Any]) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            done = effect()
            with tf.control_dependencies([done] if done is not None else []):
                return tf.identity(x)

        return run

    def python() -> Any:
        return tf.py_function(lambda: mark.write_text("run"), [], [])

    def plus(read: Callable[[], Any]) -> Callable[[Any], Any]:
        return lambda x: x + tf.cast(tf.size(read()), tf.float32) * 0

    raw = tf.raw_ops
    return {
        "write-file": with_effect(lambda: tf.io.write_file(str(mark), "run")),
        "python": with_effect(python),
        "print": with_effect(lambda: tf.print("run", output_stream=f"file://{mark}")),
        "in-a-branch": lambda x: tf.cond(
            tf.reduce_sum(x) < 1e30, lambda: with_effect(lambda: tf.io.write_file(str(mark), "run"))(x), lambda: x),
        "read-file": plus(lambda: tf.io.read_file(str(secret))),
        "matching-files": plus(lambda: tf.io.matching_files(f"{secret.parent}/*")),
        "mapped-file": plus(lambda: raw.ImmutableConst(
            dtype=tf.float32, shape=[1], memory_region_name=str(secret))),
        "sampler-of-a-file": plus(lambda: raw.FixedUnigramCandidateSampler(
            true_classes=[[0]], num_true=1, num_sampled=1, unique=False, range_max=2, vocab_file=str(secret))[0]),
        "checkpoint-read": plus(lambda: raw.RestoreV2(
            prefix=str(secret), tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])[0]),
        "checkpoint-written": with_effect(lambda: raw.SaveV2(
            prefix=str(mark), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones(1)])),
        "dataset": plus(lambda: tf.data.TextLineDataset(str(secret)).reduce("", lambda old, new: new)),
        "proto": plus(lambda: raw.DecodeProtoV2(
            bytes=["a"], message_type="a.b", field_names=[], output_types=[], descriptor_source=str(secret))[0]),
    }  # fmt: skip


def objects(mark: Path, secret: Path) -> dict[str, Any]:
    """Things that a model holds, whose functions run as it is opened; no signature leads to them."""

    class Made(TrackableResource):
        def _create_resource(self) -> Any:
            tf.io.write_file(str(mark), "run")
            return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    class Initialised(TrackableResource):
        def _create_resource(self) -> Any:
            return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

        def _initialize(self) -> Any:
            tf.io.write_file(str(mark), "run")

    class Restored(tf.lookup.experimental.MutableHashTable):
        """Written to a checkpoint and read back by functions of its own."""

        def _restore_from_tensors(self, tensors: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(mark), "run")]):
                return super()._restore_from_tensors(tensors)

    restored = Restored(tf.string, tf.int64, -1)
    class Swapped(TrackableResource):
        """Calls one function; another that claims to do the same takes its place as the graph is optimised."""

        def __init__(self) -> None:
            super().__init__()
            self.harmless = _implementation("GPU", lambda x: tf.random.uniform(()) + x)
            self.writing = _implementation("CPU", self._write)
            self.writing.get_concrete_function()

        @staticmethod
        def _write(x: Any) -> Any:
            save = tf.raw_ops.SaveV2(
                prefix=str(mark), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones(1)])
            with tf.control_dependencies([save]):
                return tf.constant(1.0) + x

        def _create_resource(self) -> Any:
            return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

        def _initialize(self) -> Any:
            return self.harmless(tf.random.uniform(())) * 2

    return {"made": Made(), "swapped": Swapped(), "initialised": Initialised(), "restored": restored}


def _implementation(device: str, function: Any) -> Any:
    return tf.function(
        function, autograph=False, input_signature=[tf.TensorSpec((), tf.float32)],
        experimental_attributes={"api_implements": "impl", "api_preferred_device": device})


def table(words: Path) -> Any:
    words.write_text("a\nb\n")
    lines = tf.lookup.TextFileIndex
    initializer = tf.lookup.TextFileInitializer(
        str(words), tf.string, lines.WHOLE_LINE, tf.int64, lines.LINE_NUMBER)
    return tf.lookup.StaticHashTable(initializer, -1)


def changes_of_assets(secret: Path) -> dict[str, Callable[[Path], None]]:
    """Edits of a model with a table: its words come from somewhere else."""

    def renamed(to: str) -> Callable[[Path], None]:
        def change(path: Path) -> None:
            with edited(path) as meta:
                meta.asset_file_def[0].filename = to

        return change

    def linked(path: Path) -> None:
        [asset] = (path / "assets").iterdir()
        asset.unlink()
        asset.symlink_to(secret)

    def folder_linked(path: Path) -> None:
        elsewhere = path.with_name(f"{path.name}-elsewhere")
        (path / "assets").rename(elsewhere)
        (path / "assets").symlink_to(elsewhere)

    def weights_linked(path: Path) -> None:
        elsewhere = path.with_name(f"{path.name}-elsewhere")
        (path / "variables").rename(elsewhere)
        (path / "variables").symlink_to(elsewhere)

    def constant(path: Path) -> None:
        """The path stands in the function itself, in place of what its object gives."""
        with edited(path) as meta:
            for function in meta.graph_def.library.function:
                for node in function.node_def:
                    if node.op.startswith("InitializeTableFromTextFile"):
                        added = function.node_def.add(name="where", op="Const")
                        added.attr["dtype"].type = tf.string.as_datatype_enum
                        added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(secret)))
                        node.input[1] = "where:output:0"

    def restored_as_a_constant(path: Path) -> None:
        """A class that TensorFlow knows takes the place of the asset: its path is a constant of the graph."""
        with edited(path) as meta:
            where = meta.graph_def.node.add(name="", op="Const")
            where.attr["dtype"].type = tf.string.as_datatype_enum
            where.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(secret)))
            for node in meta.object_graph_def.nodes:
                if node.WhichOneof("kind") == "asset":
                    node.registered_name = "tf.TrackableConstant"

    def weights_file_linked(path: Path) -> None:
        [data] = (path / "variables").glob("*.data*")
        data.unlink()
        data.symlink_to(secret)

    return {
        "asset-above": renamed(f"../../{secret.name}"),
        "asset-absolute": renamed(str(secret)),
        "asset-linked": linked,
        "asset-constant": constant,
        "asset-restored-as-a-constant": restored_as_a_constant,
        "weights-linked": weights_file_linked,
        "assets-folder-linked": folder_linked,
        "variables-folder-linked": weights_linked,
    }


class edited:
    """`with edited(folder) as meta_graph: ...` changes what a SavedModel stores."""

    def __init__(self, path: Path) -> None:
        self.file, self.stored = path / "saved_model.pb", SavedModel()

    def __enter__(self) -> Any:
        self.stored.ParseFromString(self.file.read_bytes())
        return self.stored.meta_graphs[0]

    def __exit__(self, *_: object) -> None:
        self.file.write_bytes(self.stored.SerializeToString())


# ---- graphs of TensorFlow 1 ------------------------------------------------------------------------------------------


def graph(path: Path, add: Callable[[], Any] | None = None, **kept: Any) -> Path:
    """A SavedModel without objects; `add` gives an operation that initialises it."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 4), name="x")
        weights = v1.get_variable("weights", initializer=tf.ones((4, 2)), use_resource=True)
        y = tf.matmul(x, weights, name="y")
        main = add() if add is not None else None
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, main_op=main, **kept)
        builder.save()
    return path


def graphs(mark: Path, secret: Path) -> dict[str, Callable[[Path], Path]]:
    def restore_writes_a_checkpoint(path: Path) -> Path:
        graph(path)
        with edited(path) as meta:
            [save] = [node for node in meta.graph_def.node if node.op == "SaveV2"]
            where = meta.graph_def.node.add(name="where", op="Const")
            where.attr["dtype"].type = tf.string.as_datatype_enum
            where.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(mark)))
            other = meta.graph_def.node.add()
            other.CopyFrom(save)
            other.name, other.input[0] = "other", "where"
            [restore] = [node for node in meta.graph_def.node if node.name == meta.saver_def.restore_op_name]
            restore.input.append("^other")
        return path

    def restore_reads_elsewhere(path: Path) -> Path:
        graph(path)
        with edited(path) as meta:
            where = meta.graph_def.node.add(name="where", op="Const")
            where.attr["dtype"].type = tf.string.as_datatype_enum
            where.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(secret)))
            [restore] = [node for node in meta.graph_def.node if node.op == "RestoreV2"]
            restore.input[0] = "where"
        return path

    def first_value_writes(path: Path) -> Path:
        graph(path)
        with edited(path) as meta:
            node = meta.graph_def.node
            for name, value in (("where", str(mark)), ("what", "run")):
                constant = node.add(name=name, op="Const")
                constant.attr["dtype"].type = tf.string.as_datatype_enum
                constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
            node.add(name="write", op="WriteFile", input=["where", "what"])
            floats = tf.float32.as_datatype_enum
            first = next(one for one in node if one.op == "Const" and one.attr["dtype"].type == floats)
            first.input.append("^write")
        return path

    def signature_restores_elsewhere(path: Path) -> Path:
        """The saver's file name is fed where variables are restored, and a constant where a signature runs."""
        graph(path)
        with edited(path) as meta:
            nodes = {node.name: node for node in meta.graph_def.node}
            source = meta.saver_def.filename_tensor_name.partition(":")[0]
            while nodes[source].op != "Const":
                source = nodes[source].input[0].partition(":")[0]
            nodes[source].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(secret)))
            again = meta.graph_def.node.add()
            again.CopyFrom(next(node for node in meta.graph_def.node if node.op == "RestoreV2"))
            again.name = "again"
            nodes["y"].input[1] = "again"
        return path

    def signature_fills_a_table(path: Path) -> Path:
        """The file is an asset where the model is initialised, and any file where the signature runs."""
        words = path.with_suffix(".txt")
        words.write_text("a\nb\n")

        def add() -> Any:
            where = tf.constant(str(words), name="where")
            v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, where)
            handle = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
            fill = tf.raw_ops.InitializeTableFromTextFileV2(
                table_handle=handle, filename=where, key_index=-2, value_index=-1)
            return tf.group(fill, name="fill_all")

        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, (None, 4), name="x")
            weights = v1.get_variable("weights", initializer=tf.ones((4, 2)), use_resource=True)
            fill = add()
            with tf.control_dependencies([fill]):
                y = tf.matmul(x, weights, name="y")
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(path))
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})},
                main_op=fill, assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS))
            builder.save()
        with edited(path) as meta:
            for node in meta.graph_def.node:
                if node.name == "where":
                    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(str(secret)))
        return path

    return {
        "initialising-writes": lambda path: graph(path, lambda: tf.io.write_file(str(mark), "run")),
        "restore-writes-a-checkpoint": restore_writes_a_checkpoint,
        "restore-reads-elsewhere": restore_reads_elsewhere,
        "signature-restores-elsewhere": signature_restores_elsewhere,
        "first-value-writes": first_value_writes,
        "signature-fills-a-table": signature_fills_a_table,
    }


def benign(folder: Path) -> Iterator[tuple[str, Path]]:
    """What looks like some of these and is harmless."""
    yield "plain", exported(folder / "plain", tf.identity)
    module = _module(tf.identity)
    module.table = table(folder / "words.txt")
    tf.saved_model.save(module, str(folder / "table"), signatures=module.serve)
    yield "table-of-an-asset", folder / "table"
    yield "v1", graph(folder / "v1")
    shutil.rmtree(folder / "table" / "assets.extra", ignore_errors=True)
