"""Operators that do what they can to give a secret away: none of it reaches what is stored or shown."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import textwrap
import urllib.parse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import flowlearner
from flowlearner import Client, Metric, Range, RunFailed, Secret, UsageError, operator, workflow
from flowlearner.secrecy import WatchedWrite, hide_in_source, list_spellings
from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli
from tests.engine.api import Api
from tests.engine.processes import wait_until

# Put together here: what is a secret is not in the source of this module.
PLAIN = "-".join(["hunter2", "very", "secret"])
ODD = "".join(["p\"a'ss", "\\w\u00f6 rd", "%&\u00e9=x"])
SECRETS = [PLAIN, ODD]


def raise_chain(token: str) -> None:
    try:
        raise KeyError(token)
    except KeyError as error:
        raise ValueError("refused") from error


def raise_while(token: str) -> None:
    try:
        int(token)
    except ValueError:
        raise TypeError("refused")  # noqa: B904 - the first one is to be its context


def raise_with_note(token: str) -> None:
    error = ValueError("refused")
    error.add_note(f"with {token}")
    raise error


def raise_own_class(token: str) -> None:
    raise type(f"Refused{token}", (Exception,), {})("refused")


def raise_group(token: str) -> None:
    raise ExceptionGroup(token, [ValueError(token), KeyError(token)])


def raise_bytes(token: str) -> None:
    raise ValueError(token.encode())


def raise_nested(token: str) -> None:
    raise ValueError(token, {"token": [token]}, json.dumps({"token": token}), repr([token]))


def raise_url(token: str) -> None:
    raise ValueError(
        f"https://host/{urllib.parse.quote(token)}?{urllib.parse.urlencode({'t': token})} "
        + urllib.parse.quote(token, safe="")
    )


def raise_ascii(token: str) -> None:
    raise ValueError(ascii(token), shlex.quote(token))


def raise_syntax_error(token: str) -> None:
    compile(f"x = {token!r} +", token, "exec")


def end_python(token: str) -> None:
    sys.exit(token)


def print_it(token: str) -> None:
    print(token, [token], {"token": token}, json.dumps(token), f"{token!r:>60}")
    print(token, file=sys.stderr)
    sys.stdout.write(token[:5])
    sys.stdout.write(token[5:] + "\n")
    print(token, end="")


def log_it(token: str) -> None:
    logging.getLogger("tests").info("token %s", token)
    logging.getLogger(token).warning("%r", {"token": token})
    try:
        raise ValueError(token)
    except ValueError:
        logging.getLogger("tests").exception("refused")


def warn_of_it(token: str) -> None:
    warnings.warn(f"token {token}", stacklevel=1)


def report_it(token: str) -> None:
    flowlearner.report(step=1, **{token: 1.0})
    flowlearner.report(**{f"loss of {token}": 2.0})


def report_no_number(token: str) -> None:
    values: dict[str, Any] = {"loss": token}
    flowlearner.report(**values)


def give_nested(token: str) -> Any:
    return [{"a": (1, {"b": [token]})}]


def give_key(token: str) -> Any:
    return {token: 1}


def give_json(token: str) -> Any:
    return json.dumps({"token": token})


def give_bytes(token: str) -> Any:
    return token.encode()


def give_array(token: str) -> Any:
    return np.array(["a", token])


def give_category(token: str) -> Any:
    return pd.DataFrame({"a": pd.Categorical([token])})


def give_column(token: str) -> Any:
    return pd.DataFrame({token: [1]})


def give_index(token: str) -> Any:
    return pd.DataFrame({"a": [1]}, index=[token])


def give_attribute(token: str) -> Any:
    rows = pd.DataFrame({"a": [1]})
    rows.attrs["token"] = token
    return rows


def give_classes_of_model(token: str) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit([[0.0], [1.0]], ["no", token])


def give_parameter_of_model(token: str) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(stop_words=[token])


def give_figure(token: str) -> Any:
    import altair

    return altair.Chart(pd.DataFrame({"a": [token]})).mark_bar()


LEAKS: list[Callable[[str], Any]] = [
    raise_chain,
    raise_while,
    raise_with_note,
    raise_own_class,
    raise_group,
    raise_bytes,
    raise_nested,
    raise_url,
    raise_ascii,
    raise_syntax_error,
    end_python,
    print_it,
    log_it,
    warn_of_it,
    report_it,
    report_no_number,
    give_nested,
    give_key,
    give_json,
    give_bytes,
    give_array,
    give_category,
    give_column,
    give_index,
    give_attribute,
    give_classes_of_model,
    give_parameter_of_model,
    give_figure,
]


@operator
def leak(token: Secret, how: str) -> Any:
    return next(f for f in LEAKS if f.__name__ == how)(token)


@operator
def give_another_type(token: Secret) -> int:
    given: Any = token
    return given  # type: ignore[no-any-return]


@operator(isolate=True)
def leak_apart(token: Secret) -> int:
    class Refused(Exception):
        """Known to this process alone."""

    print(token)
    raise Refused(token, [token])


@workflow(executor="local")
def leaking(token: Secret, how: str) -> Any:
    return leak(token, how)


@workflow(executor="local")
def mistyped(token: Secret) -> int:
    return give_another_type(token)


@workflow(executor="local")
def leaking_apart(token: Secret) -> int:
    return leak_apart(token)


def spell(text: str) -> set[bytes]:
    """Return how a text stands in files, by itself and in JSON that is in JSON."""
    forms = {
        text,
        repr(text)[1:-1],
        ascii(text)[1:-1],
        urllib.parse.quote(text),
        urllib.parse.quote_plus(text),
    }
    forms |= {
        json.dumps(f, ensure_ascii=a)[1:-1] for _ in range(2) for f in set(forms) for a in (True, False)
    }
    return {f.encode(e) for f in forms for e in ("utf-8", "utf-16-le", "utf-32-le")} | {
        repr(text.encode())[2:-1].encode()
    }


def find_leaks(folder: Path, text: str) -> list[str]:
    files = [f for f in folder.rglob("*") if f.is_file()]
    assert files
    return [f.name for f in files if any(form in f.read_bytes() for form in spell(text))]


@pytest.mark.filterwarnings("ignore:token")
@pytest.mark.parametrize("how", [f.__name__ for f in LEAKS])
def test_what_an_operator_does_with_a_secret_is_stored_without_it(how: str, own_home: Path) -> None:
    run = leaking.submit(token=ODD, how=how)
    goes_on = how in ("print_it", "log_it", "warn_of_it", "report_it")
    assert run.status == ("COMPLETED" if goes_on else "FAILED")
    assert find_leaks(own_home, ODD) == []
    assert not any(form in json.dumps(run.to_json()).encode() for form in spell(ODD))


@pytest.mark.parametrize("text", SECRETS, ids=["plain", "odd"])
@pytest.mark.parametrize("flow", [mistyped, leaking_apart], ids=["mistyped", "isolated"])
def test_a_failed_node_is_stored_without_the_secret(flow: Any, text: str, own_home: Path) -> None:
    with pytest.raises(RunFailed):
        flow.run(token=text)
    assert find_leaks(own_home, text) == []


@operator
def refuse(token: Secret, n: int) -> Metric:
    flowlearner.report(step=n, **{token: 1.0})
    print([token])
    if n % 2:
        raise ValueError(json.dumps([token]))
    return float(n)


@workflow(executor="local")
def refusing(token: Secret, n: int = 0) -> Metric:
    return refuse(token, n)


@pytest.mark.parametrize("text", SECRETS, ids=["plain", "odd"])
def test_a_sweep_is_stored_without_the_secret(text: str, own_home: Path) -> None:
    sweep = refusing.sweep({"n": Range(0, 3)}, token=text, search="grid", executor="local")
    assert dict(sweep.counts) == {"COMPLETED": 2, "FAILED": 2}
    assert find_leaks(own_home, text) == []
    assert not any(form in json.dumps(sweep.to_json()).encode() for form in spell(text))


FLOW = """
    from flowlearner import Secret, operator, workflow

    @operator
    def check(token: Secret, logins: dict[str, Secret]) -> int:
        raise ValueError(token, logins)

    @workflow(executor="local")
    def flow(token: Secret, logins: dict[str, Secret]) -> int:
        return check(token, logins)
    """


@pytest.mark.parametrize("text", SECRETS, ids=["plain", "odd"])
def test_the_command_line_is_stored_and_printed_without_the_secret(
    text: str, own_home: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "checking.py"
    file.write_text(textwrap.dedent(FLOW))
    logins = json.dumps({"me": text})
    command = ["run", f"{file}:flow", "-p", f"token={text}", "-p", f"logins={logins}", "--json"]
    monkeypatch.setattr(sys, "argv", ["flowlearner", *command])
    answer = cli(*command)
    assert answer.status == 1
    assert answer.document["params"] == {"token": "***", "logins": {"me": "***"}}
    assert "token=***" in answer.document["command"]
    shown = (answer.out + answer.err + cli("runs", "show", answer.document["id"]).out).encode()
    assert not any(form in shown for form in spell(text))
    assert shlex.quote(text)[1:-1] not in answer.document["command"]
    assert find_leaks(own_home, text) == []


@operator(retries=1)
def refuse_twice(token: Secret) -> int:
    print("refused", [token])
    logging.getLogger(token).warning("%r", {"token": token})
    raise type(f"Refused{token}", (Exception,), {})(token, [token])


@workflow
def refused_by_prefect(token: Secret) -> list[int]:
    return [leak_apart(token), refuse_twice(token)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_prefect_never_hears_of_the_secret(
    own_home: Path, server: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)
    run = refused_by_prefect.submit(token=ODD)
    assert run.status == "FAILED"
    api = Api(server)
    tasks = api.wait_for_tasks(run.id, 2)
    assert {t["state_type"] for t in tasks.values()} == {"FAILED"}
    flow_run = api.find_flow_run(run.id)
    assert flow_run["parameters"] == {"token": "***"}
    body = {"logs": {"flow_run_id": {"any_": [flow_run["id"]]}}}
    wait_until(lambda: sum("***" in line["message"] for line in api.ask("/logs/filter", body)) >= 5)
    homes = [own_home, *tmp_path_factory.getbasetemp().glob("server[0-9]")]
    assert len(homes) > 1
    assert [find_leaks(home, ODD) for home in homes] == [[]] * len(homes)


IN_CODE = """
    from flowlearner import Secret, operator, workflow

    {name} = 1  # {text}

    @operator
    def check(token: Secret) -> int:
        return len(token) + {name}

    @workflow(executor="local")
    def flow(token: Secret = "{text}") -> int:
        return check(token)

    @workflow(executor="local")
    def named_in_the_body() -> int:
        return check("{text}")
    """


def test_code_is_stored_without_a_secret_that_stands_in_it_and_runs_again_with_it(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "_".join(["open", "sesame", "now"])
    code = IN_CODE.format(text=text, name=f"{text}_count")
    (tmp_path / "checking_in_code.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("checking_in_code")
    run, named = module.flow.run(token=text), module.named_in_the_body.run()
    (tmp_path / "checking_in_code.py").unlink()
    with Client() as client:
        for which in (run, named):
            snapshot = client.load_artifact(which.to_json()["code"]["snapshot"])
            source = snapshot["modules"]["checking_in_code"]["source"]
            assert f"{text}_count = 1  # ***" in source
            assert 'token: Secret = "***"' in source
            assert 'check("***")' in source
        assert client.rerun(run.id, secrets={"token": text}).outputs.result == len(text) + 1
        with pytest.raises(UsageError, match="a Secret that stood in its code was not stored"):
            client.rerun(named.id)
    names = f"{text}_count".encode()
    for file in own_home.rglob("*"):
        if file.is_file():
            assert text.encode() not in file.read_bytes().replace(names, b""), file


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 'open-sesame'\n", "x = '***'\n"),
        ("x = f'a {y} open-sesame'", "x = f'a {y} ***'"),
        ("x = '''\nopen-sesame\n'''  # open-sesame\ny = 1\n", "x = '''\n***\n'''  # ***\ny = 1\n"),
        ("%time load('open-sesame')\n!x 'open-sesame", "%time load('***')\n!x '***"),
        ("x = 'ö', 'open-sesame'\r\ny = open-sesame", "x = 'ö', '***'\r\ny = open-sesame"),
        ("x = 1\n", "x = 1\n"),
    ],
)
def test_texts_and_comments_of_source_have_no_secret(source: str, expected: str) -> None:
    assert hide_in_source(source, list_spellings(["-".join(["open", "sesame"])])) == expected


def test_a_short_secret_leaves_source_as_it_is() -> None:
    assert hide_in_source("x = 'a'  # a\n", list_spellings(["a"])) == "x = 'a'  # a\n"


def test_a_value_is_looked_through_for_every_way_to_write_a_secret() -> None:
    for text in (*SECRETS, "häßlöch", "!!!!", "one line and\nanother of a key\nend"):
        spellings = list_spellings([text])
        for spelling in spellings:
            for encoding in ("utf-8", "utf-32-le"):
                data = b"before " + spelling.encode(encoding) + b" after"
                with pytest.raises(flowlearner.InputError), open(os.devnull, "wb") as sink:
                    WatchedWrite(lambda s, data=data: s.write(data), spellings)(sink)
