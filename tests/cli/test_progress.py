"""What a run tells on standard error, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from mlopt.cli import progress
from mlopt.pipeline.progress import Progress


@pytest.fixture
def shown(monkeypatch):
    """Shows these on a terminal or into a file; what was written."""

    def show(*told, terminal):
        buffer = io.StringIO()
        made = Console(file=buffer, force_terminal=terminal, width=100, highlight=False)
        monkeypatch.setattr(progress, "Console", lambda **settings: made)
        with progress.Reporter() as reporter:
            for each in told:
                reporter.show(each)
        return buffer.getvalue()

    return show


GROUP = Progress(part="training", doing="stem: 16 channels", stays=True)
EPOCH = Progress(part="training", doing="training, epoch 2 of 9", detail="loss 0.500, 3 min left")


def test_lines_to_read_before_a_cut_stay_on_a_terminal(shown):
    assert "s  training: stem: 16 channels" in shown(GROUP, EPOCH, terminal=True)
    assert "s  training: training, epoch 2 of 9" not in shown(GROUP, EPOCH, terminal=True)


def test_a_log_tells_the_time_left_once_an_epoch(shown):
    later = Progress(part="training", doing="training, epoch 2 of 9", detail="loss 0.400, 2 min left")
    lines = shown(GROUP, EPOCH, later, terminal=False).splitlines()
    assert [line.partition("s  ")[2] for line in lines] == [
        "training: stem: 16 channels", "training: training, epoch 2 of 9, loss 0.500, 3 min left",
    ]
