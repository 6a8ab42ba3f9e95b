"""The runner imports nothing of mlopt, so its answers are held to mlopt's contract here."""

from dataclasses import fields

from mlopt.profiling import contract
from mlopt.profiling.runner import answers


def test_an_operator_of_the_runner_has_the_fields_of_the_contract():
    assert set(answers.OperatorTime.__annotations__) == {field.name for field in fields(contract.OperatorTime)}
