"""The names of all operations in a file, for budgets that allow or forbid some."""

from pathlib import Path

from mlopt_tflite import flatfile


def operations(file: Path) -> list[str]:
    """Sorted, each once, over all subgraphs; a custom operation is "CUSTOM:name"."""
    model = flatfile.read(Path(file))
    found = set()
    for graph in model.subgraphs:
        for operator in graph.operators if graph.operators is not None else ():
            name = flatfile.op_name(model, operator)
            custom = model.operatorCodes[operator.opcodeIndex].customCode
            text = custom.decode("utf-8", "replace") if isinstance(custom, bytes) else custom
            found.add(f"CUSTOM:{text}" if text else name)
    return sorted(found)
