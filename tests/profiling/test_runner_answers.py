"""The runner imports nothing of mlopt, so what it is asked and answers is held to mlopt's contract here."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from mlopt.profiling import contract
from mlopt.profiling.runner import answers


@pytest.mark.parametrize(("ours", "contracts"), [
    (answers.OperatorTime, contract.OperatorTime),
    (answers.Request, contract.RunRequest),
    (answers.Result, contract.RunResult),
])
def test_the_runner_and_the_contract_name_the_same_fields(ours, contracts):
    assert set(get_type_hints(ours)) == {field.name for field in fields(contracts)}
