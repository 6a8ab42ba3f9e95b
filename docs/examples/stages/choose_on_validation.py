"""Choose between precisions on the validation samples, and report the chosen one on the test's.

    python choose_on_validation.py MODEL TRAIN TEST CACHE
"""

import sys
from pathlib import Path

from mlopt import plugins
from mlopt.cache import Cache
from mlopt.location import ModelLocation
from mlopt.pipeline import stages
from mlopt.pipeline.product import Product
from mlopt.pipeline.request import SampleSources
from mlopt.pipeline.workers.making import Making
from mlopt.pipeline.workers.proving import Proving
from mlopt.pipeline.workspace import Workspace
from mlopt.report import Candidate
from mlopt.worker import Crew

TRIED = ("int8-dynamic", "int8", "mixed-4-8")
MOST_DROP = 0.02


def main(model: str, train: str, test: str, cache: str) -> None:
    place = Path(cache).resolve()
    place.mkdir(parents=True, exist_ok=True)
    with Crew(place) as crew:
        at, location = Workspace(crew=crew, store=Cache(place)), ModelLocation(Path(model))
        source = stages.opened(at, location)
        samples = stages.samples(at, SampleSources(train=train, test=test), source.signature)
        door = plugins.load_converter("tflite")
        float_entry = stages.float_file(at, Product(model=location), door)
        making = Making(
            float_entry=float_entry, signature=source.signature, calibration=samples / "calibration", seed=0
        )
        precisions = {precision.name: precision for precision in door.precisions}

        def proven(name: str, role: str) -> Candidate:
            proving = Proving(
                source=source, float_entry=float_entry, samples=samples / role, samples_name=role, seed=0,
                answers=stages.answers(at, location, samples / role, role), calibration=samples / "calibration",
                class_names=(),
            )
            return stages.proven(at, door, precisions[name], making, proving)

        seen = [proven(name, "validation") for name in TRIED]
        fit = [one for one in seen if one.evidence is not None and one.evidence.drop <= MOST_DROP]
        for one in seen:
            print(told(one))
        if not fit:
            sys.exit(f"none of {', '.join(TRIED)} stays within a drop of {MOST_DROP}")
        chosen = min(fit, key=lambda one: one.bytes)
        print("chosen:", told(proven(chosen.precision, "test")))


def told(one: Candidate) -> str:
    evidence = one.evidence
    if evidence is None:
        return f"{one.precision}: does not run"
    return f"{one.precision}: {one.bytes} bytes, drop {evidence.drop:.4f} on {evidence.n} {evidence.samples} samples"


if __name__ == "__main__":
    main(*sys.argv[1:])
