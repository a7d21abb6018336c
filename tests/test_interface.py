"""The interface that a signature gives, and every way in which a signature gives none."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, Protocol, TypedDict, TypeVar

import pandas as pd
import pytest

from flowlearner import (
    Choice,
    Columns,
    DefinitionError,
    File,
    LogRange,
    Metric,
    Model,
    Operator,
    Range,
    Secret,
    Seed,
    Static,
    operator,
    workflow,
)
from flowlearner.interface import MISSING, default_text, make_interface, read_arg_docs

if TYPE_CHECKING:
    from decimal import Decimal


class Parts(NamedTuple):
    train: pd.DataFrame
    score: Metric


def test_parameters_have_type_default_and_text() -> None:
    def train(rows: pd.DataFrame, depth: Annotated[int, Range(1, 12)] = 6, *, seed: Seed = None) -> Model:
        """Train a model.

        Args:
            rows: what to learn from,
                on two lines.
            depth (int): how deep a tree is.
        """

    found = make_interface(train, "operator")
    assert [(p.name, str(p.type), p.required, p.keyword_only) for p in found.params] == [
        ("rows", "pandas.DataFrame", True, False),
        ("depth", "int", False, False),
        ("seed", "Seed", False, True),
    ]
    assert found.by_name["rows"].doc == "what to learn from, on two lines."
    assert found.by_name["depth"].doc == "how deep a tree is."
    assert found.by_name["seed"].takes_run_seed
    assert [(o.name, str(o.type)) for o in found.outputs] == [("result", "Model")]


def test_each_field_of_a_named_tuple_is_an_output() -> None:
    def split(rows: pd.DataFrame) -> Parts: ...

    found = make_interface(split, "operator")
    assert [(o.name, str(o.type)) for o in found.outputs] == [
        ("train", "pandas.DataFrame"),
        ("score", "Metric"),
    ]
    assert found.output_class is Parts


def test_none_gives_no_output() -> None:
    def tell(text: str) -> None: ...

    assert make_interface(tell, "operator").outputs == ()


def test_annotations_that_are_text_resolve_in_the_function_that_encloses_them() -> None:
    class Local(NamedTuple):
        left: Inner

    class Inner(NamedTuple):
        value: int

    @operator
    def make(n: int) -> Local:
        return Local(Inner(n))

    assert [o.name for o in make.interface.outputs] == ["left"]
    assert make.interface.outputs[0].type.base is Inner


def test_names_of_a_caller_that_does_not_enclose_the_function_are_not_seen() -> None:
    def caller() -> None:
        Hidden = int  # noqa: F841, N806
        declare()

    def declare() -> None:
        @operator
        def uses(n: Hidden) -> int:  # type: ignore[name-defined] # noqa: F821
            return 1

    with pytest.raises(DefinitionError, match="'Hidden' is not defined"):
        caller()


def test_an_annotation_that_is_imported_for_type_checkers_only_says_so() -> None:
    with pytest.raises(DefinitionError, match=r"'Decimal' is not defined.*outside of 'if TYPE_CHECKING'"):

        @operator
        def add(a: Decimal) -> int:
            return 1


async def sleeps(n: int) -> int:
    return n


def yields(n: int) -> Iterator[int]:
    yield n


async def both(n: int) -> Any:
    yield n


class Thing:
    def method(self, n: int) -> int:
        return n


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (sleeps, "it is async"),
        (both, "it is async"),
        (yields, "it is a generator"),
        (Thing.method, "it is a method"),
        (Thing().method, "takes a plain function"),
        (Thing, "takes a plain function, found the class 'Thing'"),
        (lambda n: n, "a lambda has no name"),
        (print, "takes a plain function"),
        (3, "takes a plain function, found 3"),
    ],
    ids=["async", "async generator", "generator", "method", "bound", "class", "lambda", "builtin", "number"],
)
@pytest.mark.parametrize("decorate", [operator, workflow])
def test_what_is_not_a_plain_function_is_refused_with_the_reason(decorate: Any, fn: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        decorate(fn)


def test_an_operator_is_not_decorated_twice() -> None:
    with pytest.raises(DefinitionError, match="takes a plain function, found <operator keep>"):

        @operator
        @operator
        def keep(n: int) -> int:
            return n


def test_all_mistakes_of_a_signature_are_listed_together() -> None:
    def wrong(a, b: int = "x", *rest: int, c: Annotated[int, Range(1, 3)] = 9, **more: int):  # type: ignore[no-untyped-def, assignment]
        pass

    with pytest.raises(DefinitionError) as caught:
        make_interface(wrong, "operator")
    text = str(caught.value)
    assert "operator 'wrong'" in text
    assert "test_interface.py:" in text
    for words in (
        "parameter 'a' has no type",
        "default of parameter 'b': expected int, found str 'x'",
        "'*rest' has no names",
        "default of parameter 'c': expected a value in 1..3, found 9",
        "'**more' has no names",
        "the return has no type",
    ):
        assert words in text


def test_a_parameter_without_a_name_to_call_it_by_is_refused() -> None:
    def wrong(a: int, /) -> int:
        return a

    with pytest.raises(DefinitionError, match="parameter 'a' cannot be given by name; remove the '/'"):
        make_interface(wrong, "operator")


def test_an_output_cannot_be_a_secret() -> None:
    def leak(n: int) -> Secret:
        return "x"

    with pytest.raises(DefinitionError, match="output 'result' is a Secret, which only a parameter can be"):
        make_interface(leak, "operator")


T = TypeVar("T")


class Generics(NamedTuple, Generic[T]):
    value: T


class Fields(TypedDict):
    value: int


class Shape(Protocol):
    def area(self) -> float: ...


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        ([int], "[<class 'int'>] is no type; write list[int]"),
        ((int, str), "is no type; write tuple[int, str]"),
        (Range(1, 3), "write Annotated[TYPE, Range(1, 3)]"),
        (Choice, "Choice(...) is no type; write Annotated[TYPE, Choice(...)]"),
        (any, "any is no type; write Any"),
        (callable, "callable is no type; write Callable"),
        (3, "3 is no type"),
        (json, "json is no type"),
        (T, "'T' stands for any type; write the type itself"),
        (list[T], "'T' stands for any type"),  # type: ignore[valid-type]
        (Generics[int], "Generics[int] fills in a generic NamedTuple"),
        (Fields, "values cannot be checked against the TypedDict Fields"),
        (Shape | None, "make it @runtime_checkable"),
        (Annotated[str, Range(1, 3)], "Range limits int or float, but the type is str"),
        (list[Annotated[str, LogRange(1, 3)]], "LogRange limits int or float"),
        (Annotated[int, Choice(["a"])], "a value of Choice: expected int, found str 'a'"),
        (Annotated[int, Choice], "write Choice(...)"),
        (Annotated[int, Range(1, 3), Choice([1])], "are two limits of one value; give one"),
        (Annotated[int, Columns(age=int)], "Columns describes a table, but the type is int"),
    ],
)
def test_an_annotation_that_is_no_type_or_does_not_fit_its_type_is_refused(hint: Any, words: str) -> None:
    def takes(n): ...  # type: ignore[no-untyped-def]

    def gives() -> int:
        return 0

    takes.__annotations__ = {"n": hint, "return": int}
    gives.__annotations__ = {"return": hint}
    for fn, place in ((takes, "parameter 'n': "), (gives, "output 'result': ")):
        with pytest.raises(DefinitionError) as caught:
            make_interface(fn, "operator")
        assert place in str(caught.value)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "hint",
    [
        Annotated[int | None, Range(1, 3)],
        Annotated[Any, Range(1, 3)],
        Annotated[int | str, Range(1, 3)],
        Annotated[float, Choice([1, 2.5])],
        Annotated[str | None, Choice(["a", None])],
        Annotated[list[int], Choice([[1], [2]])],
        Annotated[pd.DataFrame | None, Columns(age=int)],
        Callable[[int], int],
        Operator[..., Any],
        Iterator[int],
        Metric,
    ],
)
def test_an_annotation_whose_words_fit_is_taken(hint: Any) -> None:
    def takes(n): ...  # type: ignore[no-untyped-def]

    takes.__annotations__ = {"n": hint, "return": int}
    make_interface(takes, "operator")


def test_a_range_given_as_the_default_says_how_to_annotate() -> None:
    def wrong(depth: int = Range(1, 3)) -> int:  # type: ignore[assignment]
        return depth

    with pytest.raises(DefinitionError, match=r"write depth: Annotated\[int, Range\(1, 3\)"):
        make_interface(wrong, "workflow")


def test_a_default_of_none_makes_any_type_optional() -> None:
    def takes(
        n: int = None,  # type: ignore[assignment]  # noqa: RUF013
        start: Model = None,
        path: File = None,  # type: ignore[assignment]
        score: Metric = None,  # type: ignore[assignment]
        token: Secret = None,  # type: ignore[assignment]
        seed: Seed = None,
    ) -> int:
        return 0

    types = [str(p.type) for p in make_interface(takes, "operator").params]
    assert types == ["int | None", "Model | None", "File | None", "Metric | None", "Secret | None", "Seed"]


def test_static_and_operator_parameters_are_static() -> None:
    def choose(
        n: int,
        sizes: Static[list[int]],
        trainer: Operator[..., Any],
        other: Operator[[int], int] | None = None,
    ) -> int: ...

    found = make_interface(choose, "workflow")
    assert [p.is_static for p in found.params] == [False, True, True, True]


def test_the_json_form_is_json_and_shows_no_secret() -> None:
    def load(
        path: str,
        token: Secret = "hush",
        rows: Annotated[pd.DataFrame, Columns(age=int)] | None = None,
    ) -> Parts: ...

    document = make_interface(load, "operator").to_json()
    text = json.dumps(document, allow_nan=False)
    assert "hush" not in text
    assert document["params"][2]["columns"] == {"age": "int"}
    assert [o["kind"] for o in document["outputs"]] == [None, "metric"]


class Colour(Enum):
    RED = "r"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ((1, "a"), [1, "a"]),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        ({1: Colour.RED}, {"1": "RED"}),
        (Path("a/b"), "a/b"),
        (date(2013, 1, 2), "2013-01-02"),
        (object(), "object"),
        (pd.DataFrame(), "pandas.DataFrame"),
        (len, "len"),
        (b"abc", "bytes"),
    ],
)
def test_a_default_that_json_lacks_is_shown_the_same_in_every_process(value: Any, shown: Any) -> None:
    assert default_text(value) == shown
    json.dumps(default_text(value), allow_nan=False)


def test_no_default_stays_no_default_through_pickle() -> None:
    assert pickle.loads(pickle.dumps(MISSING)) is MISSING


def test_a_docstring_without_arguments_describes_none() -> None:
    assert read_arg_docs("Only a summary: with a colon.") == {}


def test_a_wrapped_function_keeps_the_signature_of_what_it_wraps() -> None:
    import functools

    def logged(fn: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(fn)
        def inner(*args: Any, **kwargs: Any) -> int:
            return fn(*args, **kwargs)

        return inner

    @operator
    @logged
    def double(n: int) -> int:
        return 2 * n

    assert [p.name for p in double.interface.params] == ["n"]
    assert double(4) == 8


PROGRAM = """
from __future__ import annotations
from typing import NamedTuple
from flowlearner import operator, workflow

class Pair(NamedTuple):
    left: int
    right: int

@operator
def make(n: int) -> Pair:
    return Pair(n, n)

@workflow
def both(n: int) -> Pair:
    return make(n)

print([n.name for n in both.compile().nodes], both.compile().nodes[0].location)
"""


@pytest.mark.slow
def test_functions_of_a_program_given_as_text_work() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "['make'] <string>:16\n"


def test_functions_of_a_namespace_that_is_no_module_work() -> None:
    space: dict[str, Any] = {"__name__": f"cell_{os.getpid()}"}
    exec(compile(PROGRAM, "<cell>", "exec"), space)
    assert [o.name for o in space["make"].interface.outputs] == ["left", "right"]
