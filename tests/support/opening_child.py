"""Say "ready", open the models whose paths come on standard input, one a line, and say of each how it ended.

A native library may end the process over a damaged file. That is what mlopt's own workers are for; here the line that
was begun says which file it was.
"""

import importlib
import json
import os
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from mlopt.isolation import NEVER_NEEDED, TORCH, hide
from mlopt.location import ModelLocation

hide(TORCH | NEVER_NEEDED)

from mlopt.errors import MloptError  # noqa: E402  # what is hidden must be hidden first
from mlopt.frameworks import open_model  # noqa: E402


def main() -> None:
    answers = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    for slow in ("tensorflow", "tf_keras", "keras"):
        importlib.import_module(slow)               # before anybody counts the seconds
    answers.write("ready\n")
    for line in sys.stdin:
        try:
            opened = open_model(ModelLocation(Path(line.rstrip("\n"))))
            answer = ["opened", len(opened.source.layers)]
        except MloptError as err:
            answer = [type(err).__name__, str(err)]
        except Exception as err:  # noqa: BLE001  # what the fuzzer looks for
            answer = ["traceback", f"{type(err).__name__}: {err}"]
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
