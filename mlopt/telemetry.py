"""What libraries send home is switched off here, for every process that imports one of them."""

import os
from collections.abc import Mapping

# ONNX Runtime reads its variable as its library is loaded: the function `disable_telemetry_events` comes too late, when
# an id of this device is written already. The runner of `mlopt.profiling` travels alone, and says the same for itself.
OFF: Mapping[str, str] = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "true",             # for those who keep to the common variable
}


def switch_off() -> None:
    """For this process and those that it starts; to be called before a library of those is imported."""
    os.environ.update(OFF)
