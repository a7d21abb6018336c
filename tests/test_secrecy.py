"""Secrets inside of other values: what is recorded, shown and hashed has them concealed, and nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from flowlearner import DefinitionError, ParameterError, RunFailed, Secret, Static, operator, workflow
from flowlearner.cli.parameters import describe_parameter
from flowlearner.engine.binding import bind_literal
from flowlearner.errors import InputError
from flowlearner.interface import Param
from flowlearner.params import parse_param
from flowlearner.secrecy import WatchedWrite, conceal, holds_secret
from flowlearner.spec import make_spec


class Login(NamedTuple):
    user: str
    password: Secret


@dataclass(frozen=True)
class Account:
    user: str
    password: Secret


class Access(BaseModel):
    user: str
    logins: list[Login] = []


@dataclass
class Tree:
    branches: list[Tree]


# Put together here: the source of this module is stored with a run.
TEXT = "-".join(["hunter2", "very", "secret"])
HOLDING = [
    (Secret, TEXT, "***"),
    (Secret | None, TEXT, "***"),
    (list[Secret], [TEXT], ["***"]),
    (tuple[str, Secret], ("me", TEXT), ("me", "***")),
    (tuple[Secret, ...], (TEXT,), ("***",)),
    (Sequence[Secret], [TEXT], ["***"]),
    (set[Secret], {TEXT}, {"***"}),
    (dict[str, Secret], {"a": TEXT}, {"a": "***"}),
    (dict[str, list[Secret]], {"a": [TEXT]}, {"a": ["***"]}),
    (Secret | int, TEXT, "***"),
    (list[Secret] | Secret | None, [TEXT], ["***"]),
    (Login, Login("me", TEXT), Login("me", "***")),
    (Account, Account("me", TEXT), Account("me", "***")),
    (Access, Access(user="me", logins=[Login("you", TEXT)]), Access(user="me", logins=[Login("you", "***")])),
]


@pytest.mark.parametrize(("hint", "value", "shown"), HOLDING)
def test_secrets_are_concealed_by_the_declared_type(hint: Any, value: Any, shown: Any) -> None:
    found: list[str] = []
    spec = make_spec(hint)
    assert holds_secret(spec)
    assert conceal(value, spec, found) == shown
    assert found == [TEXT]
    assert TEXT in repr(value), "the value itself is as it was"


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (str, TEXT),
        (list[str], [TEXT]),
        (Tree, Tree([Tree([])])),
        (Any, TEXT),
        (Secret | int, 3),
        (Secret | None, None),
    ],
)
def test_what_is_not_declared_secret_stays_as_it_is(hint: Any, value: Any) -> None:
    found: list[str] = []
    assert conceal(value, make_spec(hint), found) is value
    assert found == []


@pytest.mark.parametrize(("hint", "value", "shown"), HOLDING)
def test_the_key_of_an_input_has_no_secret_and_all_the_rest(hint: Any, value: Any, shown: Any) -> None:
    param = Param("p", make_spec(hint))
    bound = bind_literal(value, param)
    assert bound.value is value
    if bound.hash is not None:
        assert bound.hash == bind_literal(shown, param).hash


def test_a_part_beside_a_secret_changes_the_key() -> None:
    param = Param("p", make_spec(Login))
    assert bind_literal(Login("me", TEXT), param).hash == bind_literal(Login("me", "other"), param).hash
    assert bind_literal(Login("me", TEXT), param).hash != bind_literal(Login("you", TEXT), param).hash


def test_no_secret_is_another_key_than_a_secret() -> None:
    param = Param("p", make_spec(Secret | None))
    assert bind_literal(None, param).hash is not None
    assert bind_literal(TEXT, param).hash is None


@operator
def fail_with(tokens: list[Secret], login: Login | None = None) -> int:
    print(tokens, login)
    raise ValueError(f"refused {tokens} {login}")


@workflow(executor="local")
def given_as_a_list(tokens: list[Secret]) -> int:
    return fail_with(tokens)


@workflow(executor="local")
def put_together(token: Secret, user: str = "me") -> int:
    return fail_with([token, token], Login(user, token))


@workflow(executor="local")
def written_in_the_body() -> int:
    return fail_with([TEXT], Login("me", TEXT))


@operator
def fail_by_default(token: Secret = TEXT) -> int:
    raise ValueError(token)


@workflow(executor="local")
def given_by_a_default() -> int:
    return fail_by_default()


@pytest.mark.parametrize(
    ("flow", "params", "recorded"),
    [
        (given_as_a_list, {"tokens": [TEXT]}, {"tokens": ["***"]}),
        (put_together, {"token": TEXT}, {"token": "***", "user": "me"}),
        (written_in_the_body, {}, {}),
        (given_by_a_default, {}, {}),
    ],
    ids=lambda v: getattr(v, "name", ""),
)
def test_a_secret_inside_of_a_value_reaches_the_operator_and_nothing_else(
    flow: Any, params: dict[str, Any], recorded: dict[str, Any], own_home: Path
) -> None:
    with pytest.raises(RunFailed) as caught:
        flow.run(**params)
    assert caught.value.run.params == recorded
    assert TEXT not in str(caught.value)
    assert "***" in str(caught.value)
    assert [f for f in own_home.rglob("*") if f.is_file() and TEXT.encode() in f.read_bytes()] == []


def test_a_secret_that_does_not_fit_is_not_shown() -> None:
    with pytest.raises(ParameterError, match="expected list\\[Secret\\], found str") as caught:
        given_as_a_list.run(tokens=TEXT)
    assert TEXT not in str(caught.value)
    with pytest.raises(ParameterError) as caught:
        parse_param(Param("tokens", make_spec(list[Secret])), TEXT)
    assert TEXT not in str(caught.value)


def test_a_secret_is_neither_static_nor_an_output() -> None:
    def static(token: Static[list[Secret]]) -> int:
        return 1

    def returned(n: int) -> list[Secret]:
        return []

    with pytest.raises(DefinitionError, match="parameter 'token' is Static and so a part of the graph"):
        workflow(static)
    with pytest.raises(DefinitionError, match="output 'result' is a list"):
        operator(returned)


@operator
def repeat(token: Secret, times: int) -> str:
    return "-" * times + token + "-" * times


@operator
def tabulate(token: Secret, times: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(times), "text": [token] * times})


@operator
def weigh(token: Secret, times: int) -> Any:
    return {"weights": np.zeros(times), "token": token}


@workflow(executor="local")
def returned(token: Secret, make: Static[str], times: int) -> Any:
    return {"repeat": repeat, "tabulate": tabulate, "weigh": weigh}[make](token, times)


@pytest.mark.parametrize("times", [1, 100_000])
@pytest.mark.parametrize("make", ["repeat", "tabulate", "weigh"])
def test_an_output_that_holds_a_secret_is_refused_however_large(
    make: str, times: int, own_home: Path
) -> None:
    with pytest.raises(RunFailed, match="output 'result': it holds the text of a Secret"):
        returned.run(token=TEXT, make=make, times=times)
    assert [f for f in own_home.rglob("*") if f.is_file() and TEXT.encode() in f.read_bytes()] == []


def test_a_secret_that_is_written_in_two_pieces_is_seen() -> None:
    for cut in range(len(TEXT) + 1):
        pieces = [b"..", TEXT[:cut].encode(), TEXT[cut:].encode(), b".."]

        def write(sink: Any, pieces: list[bytes] = pieces) -> None:
            for piece in pieces:
                sink.write(piece)

        with pytest.raises(InputError, match="the text of a Secret"):
            WatchedWrite(write, [TEXT])(io.BytesIO())


@operator
def measure(token: Secret, times: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(times), "length": len(token)})


@workflow(executor="local")
def measured(token: Secret) -> pd.DataFrame:
    return measure(token, 100_000)


def test_a_large_output_without_the_secret_is_stored() -> None:
    assert measured.run(token=TEXT).outputs.result["length"].sum() == 100_000 * len(TEXT)


@workflow(executor="local")
def defaulted(token: Secret = TEXT, login: Login = Login("me", TEXT), tokens: list[Secret] = [TEXT]) -> int:  # noqa: B006, B008
    return fail_with([token])


def test_a_default_that_is_secret_is_shown_nowhere() -> None:
    assert TEXT not in json.dumps(defaulted.interface.to_json())
    assert TEXT not in json.dumps(defaulted.compile().to_json())
    assert TEXT not in str([describe_parameter(p, set()) for p in defaulted.interface.params])
    # What Prefect stores of a deployment.
    assert TEXT not in str(defaulted.flow.parameters)
