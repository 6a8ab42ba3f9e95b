"""What of the caller's environment a worker gets to see."""

import pytest

from mlopt.sandbox import Network, Reach
from mlopt.worker import Crew, Job


@pytest.mark.parametrize(
    ("reach", "user_modules", "seen"),
    [(Reach(), False, ""), (Reach(), True, "hush"), (Reach(network=Network.EVERYTHING), False, "hush"),
     (None, False, "hush")],
)
def test_a_held_worker_gets_no_secret_of_the_environment(monkeypatch, reach, user_modules, seen):
    monkeypatch.setenv("CLOUD_SECRET_KEY", "hush")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    def told(name):
        job = Job(task="looking", function="os:getenv", arguments={"key": name, "default": ""}, reach=reach,
                  user_modules=user_modules)
        with Crew() as crew:
            return crew.run(job, str)

    assert (told("CLOUD_SECRET_KEY"), told("OMP_NUM_THREADS")) == (seen, "3")
