"""What a node says about a table or a value that is not what its operator declares."""

from __future__ import annotations

import pandas as pd
import pytest

from flowlearner import Columns, InputError, Model, RunFailed, operator, workflow
from flowlearner.engine.node import check_columns


def test_the_nearest_name_of_a_missing_column_is_a_sentence_of_its_own() -> None:
    table = pd.DataFrame({"age": [1]})
    with pytest.raises(InputError, match=r"missing agee\. Did you mean 'age'\?"):
        check_columns(table, Columns("agee"), "input 'rows'", closed=False)


def test_a_returned_value_of_another_type_names_the_output_and_the_cure() -> None:
    @operator
    def wrong(n: int) -> int:
        return "text"  # type: ignore[return-value]

    @workflow(executor="local")
    def flow(n: int) -> int:
        return wrong(n)

    with pytest.raises(RunFailed) as caught:
        flow.run(n=1)
    text = str(caught.value)
    assert "output 'result': expected int, found str 'text'" in text
    assert "Return that type, or change the annotation after '->'." in text


def test_a_trainer_that_forgets_to_return_its_model_fails_itself() -> None:
    @operator
    def train(n: int) -> Model:
        pass  # type: ignore[empty-body]

    @operator
    def predict(model: Model) -> int:
        return 1

    @workflow(executor="local")
    def flow(n: int) -> int:
        return predict(train(n))

    with pytest.raises(RunFailed, match="operator 'train' returned another type than it declares"):
        flow.run(n=1)
