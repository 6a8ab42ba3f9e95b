"""What `make quick` leaves out, told by where a test lies: the folder or file decides its marker."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
PLACES = {
    "training": (
        "training", "recipes", "steps/test_distill_students.py", "steps/test_prune_cluster_steps.py",
        "steps/test_quantize_step.py", "steps/test_slim_keras.py", "contracts/test_steps.py",
    ),
    "long": (
        "end_to_end", "examples", "fuzz", "profiling/native", "profiling/transports",
        "cli/test_profile_command.py", "converters/test_coreml_packages.py", "converters/test_tflite_files.py",
        "docs/test_generated.py", "gate/test_gate_command.py", "packaging/test_installed_wheel.py",
        "profiling/test_host_target.py", "profiling/test_profile_in_python.py", "profiling/test_runner_turns.py",
        "channels/test_coupling_oracle.py",
    ),
}


def marker_of(file: Path) -> str | None:
    """The marker that the tests in `file` bear; None where `make quick` runs them."""
    for marker, places in PLACES.items():
        if any(file.is_relative_to(TESTS / place) for place in places):
            return marker
    return None
