"""The names of all operations in a file that LiteRT loads: what a gate must know before it judges anything else."""

from pathlib import Path

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mlopt.errors import ModelUnreadable
from mlopt_tflite import flatfile
from mlopt_tflite.tables import Model


def operations(file: Path) -> list[str]:
    """Sorted, each once, over all subgraphs; a custom operation is "CUSTOM:name". Raises `ModelUnreadable`.

    LiteRT checks the tables, and plans the tensors of a file whose operations it has. One with custom operations, which
    only the app that brings them can plan, is judged by its tables.
    """
    model = flatfile.read(Path(file))
    found = _names(model)
    if not any(name.startswith("CUSTOM:") for name in found):
        _plan(Path(file))
    return sorted(found)


def _names(model: Model) -> set[str]:
    found = set()
    for graph in model.subgraphs:
        for operator in graph.operators if graph.operators is not None else ():
            name = flatfile.op_name(model, operator)
            custom = model.operatorCodes[operator.opcodeIndex].customCode
            text = custom.decode("utf-8", "replace") if isinstance(custom, bytes) else custom
            found.add(f"CUSTOM:{text}" if text else name)
    return found


def _plan(file: Path) -> None:
    """With the reference kernels: a file that these refuse runs nowhere."""
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        Interpreter(model_path=str(file), experimental_op_resolver_type=kernels).allocate_tensors()
    except (ValueError, RuntimeError) as err:
        raise ModelUnreadable(file, f"the runtime cannot plan it: {flatfile.first_line(err)}", flatfile.REMEDY) from err
