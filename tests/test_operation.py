"""Operators: their options, plain calls, `map`, and how they travel to other processes."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from typing import Any

import cloudpickle
import numpy as np
import pytest

from flowlearner import DefinitionError, Metric, Operator, operator
from flowlearner.operation import parse_memory


@operator(cpus=2, memory="2GiB", retries=1)
def double(n: int, factor: float = 2.0) -> float:
    """Multiply."""
    return n * factor


@operator
def calls_another(n: int) -> float:
    return double(n) + 1


@operator
def sum_all(values: list[int], scale: int = 1) -> int:
    return sum(values) * scale


@operator
def count_down(n: int) -> int:
    return 0 if n == 0 else count_down(n - 1)


def test_an_operator_called_outside_a_compile_is_plain_python() -> None:
    assert double(3) == 6.0
    assert calls_another(3) == 7.0
    assert count_down(3) == 0


def test_an_operator_looks_like_its_function() -> None:
    assert double.__name__ == "double"
    assert double.__doc__ == "Multiply."
    assert list(inspect.signature(double).parameters) == ["n", "factor"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cpus": 0}, "cpus: expected a number above 0, found 0"),
        ({"cpus": "2"}, "cpus: expected a number above 0, found '2'"),
        ({"cpus": float("nan")}, "cpus: expected a number above 0, found nan"),
        ({"gpus": -1}, "gpus: expected a number that is not negative"),
        ({"retries": 1.5}, "retries: expected a whole number"),
        ({"retries": True}, "retries: expected a whole number"),
        ({"timeout_s": 0}, "timeout_s: expected seconds above 0"),
        ({"memory": "lots"}, "memory: expected bytes or text"),
        ({"memory": -1}, "memory: expected bytes or text"),
        ({"cache": "no"}, "cache: expected True or False, found 'no'"),
        ({"version": 3}, "version: expected text, found 3"),
        ({"uses": double}, "uses: expected a list"),
        ({"cpu": 2}, "no option 'cpu'. Did you mean 'cpus'?"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_what_it_takes(options: Any, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        operator(**options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 << 30), ("500 MB", 500_000_000), ("1g", 10**9), ("1.5k", 1500), ("64", 64), (0, 0)],
)
def test_memory_is_read_in_the_units_that_people_write(text: Any, size: int) -> None:
    assert parse_memory(text) == size


def test_effects_are_never_cached() -> None:
    @operator(effects=True)
    def send(n: int) -> None: ...

    assert not send.cache


def test_map_calls_once_for_each_element_and_gives_the_rest_to_all() -> None:
    assert double.map([1, 2, 3], factor=3.0) == [3.0, 6.0, 9.0]
    assert double.map(range(2)) == [0.0, 2.0]
    assert double.map([1, 2], [3.0, 4.0]) == [3.0, 8.0]


def test_map_leaves_a_list_alone_where_the_parameter_takes_lists() -> None:
    assert sum_all.map([1, 2], scale=[1, 10]) == [3, 30]


def test_map_refuses_lists_of_different_lengths_and_no_list_at_all() -> None:
    with pytest.raises(ValueError, match="equal length, found n: 2, factor: 3"):
        double.map([1, 2], factor=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="at least one argument that is a list"):
        double.map(1)


def test_map_says_how_to_make_a_list_of_an_array() -> None:
    with pytest.raises(ValueError, match=r"found ndarray: write list\(\.\.\.\) around it"):
        double.map(np.arange(3))


def test_an_operator_of_a_module_is_pickled_by_its_name() -> None:
    found = pickle.loads(pickle.dumps(double))
    assert found is double


def test_an_operator_of_a_function_travels_with_all_that_it_is() -> None:
    offset = 5

    @operator(retries=2, version="a")
    def shift(n: int) -> Metric:
        return n + offset

    found: Operator[Any, Any] = pickle.loads(cloudpickle.dumps(shift))
    assert found(1) == 6
    assert found.resources.retries == 2
    assert found.interface == shift.interface
    assert found.interface.params[0].required


CHILD = """
import pickle, subprocess, sys, cloudpickle
from flowlearner import operator

@operator
def count_down(n: int) -> int:
    return 0 if n == 0 else count_down(n - 1)

code = "import pickle, sys; op = pickle.load(sys.stdin.buffer); print(op(3), op.interface.params[0].required)"
done = subprocess.run([sys.executable, "-c", code], input=cloudpickle.dumps(count_down), capture_output=True)
print(done.stdout.decode() + done.stderr.decode())
"""


@pytest.mark.slow
def test_an_operator_of_main_that_calls_itself_travels_to_another_process() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0 True", done.stderr


def test_options_that_make_no_sense_are_listed_together() -> None:
    with pytest.raises(
        DefinitionError,
        match=r"@operator \(.*test_operation.py:\d+\): cpus: expected .*; memory: expected bytes",
    ):
        operator(cpus=0, memory="lots")
