"""The part of the client that runs again what has run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowlearner.bisecting.bisect import BisectOptions, bisect_runs
from flowlearner.bisecting.result import Bisection
from flowlearner.client.run import Run
from flowlearner.config import Settings
from flowlearner.engine.base import RunListener
from flowlearner.operation import Operator
from flowlearner.records import Reproduction, RunRecord
from flowlearner.replay.again import Request, resume_run, run_again
from flowlearner.replay.reproduce import Tolerance, reproduce_run

if TYPE_CHECKING:
    from flowlearner.catalog import Catalog


class Replays:
    """Running again what has run. The new run names the earlier one in `parent_id`."""

    if TYPE_CHECKING:
        settings: Settings

        @property
        def catalog(self) -> Catalog: ...

        def get_run(self, run_id: str) -> Run: ...

        def get_record(self, run_id: str) -> RunRecord: ...

    def rerun(
        self,
        run_id: str,
        *,
        current: bool = False,
        cache: bool = True,
        secrets: Mapping[str, Any] | None = None,
        executor: str | None = None,
        listener: RunListener | None = None,
        command: str = "",
    ) -> Run:
        """Run an earlier run again and wait for it: its code, parameters, seed, tags and executor.

        Args:
            current: today's code instead of that of then, which is kept with the run.
            cache: False takes nothing from the cache.
            secrets: values of Secret parameters, which are stored nowhere.
            executor: another executor than that of then.

        Raises:
            UsageError, InputError: nothing has run.

        Example:
            again = client.rerun("1f3a", cache=False)
            again.parent_id
        """
        request = Request(
            params=secrets or {},
            current=current,
            cache=cache,
            executor=executor,
            command=command,
            is_same=True,
        )
        return self.run_request(run_id, request, listener)

    def clone(
        self,
        run_id: str,
        params: Mapping[str, Any] | None = None,
        *,
        replace: Mapping[str, Operator[Any, Any] | str] | None = None,
        current: bool = False,
        cache: bool = True,
        executor: str | None = None,
        listener: RunListener | None = None,
        command: str = "",
    ) -> Run:
        """Run an earlier run with changes and wait for it. What differs is kept with the new run.

        Args:
            params: values by name that take the place of those of then.
            replace: by node or operator the operator that takes its place, or its full name.
            current: today's code instead of that of then.

        Raises:
            ParameterError, CompileError: a value or an operator does not fit; nothing has run.

        Example:
            deeper = client.clone("1f3a", {"max_depth": 8}, replace={"train": "operators.train.train_forest"})
            deeper.record.changes
        """
        request = Request(params or {}, replace or {}, False, current, cache, executor, command)
        return self.run_request(run_id, request, listener)

    def resume(
        self,
        run_id: str,
        params: Mapping[str, Any] | None = None,
        *,
        current: bool = False,
        executor: str | None = None,
        listener: RunListener | None = None,
        command: str = "",
    ) -> Run:
        """Go on with a run that did not complete, as a new run, and wait for it: what is missing runs.

        Args:
            params: values by name that take the place of those of then; nodes that they reach run again.
            current: today's code, such as with other resources or a bug that is mended.

        Raises:
            UsageError: the run completed, or still runs.

        Example:
            client.resume("1f3a").status
        """
        request = Request(params or {}, {}, False, current, True, executor, command)
        return self.run_request(run_id, request, listener, goes_on=True)

    def reproduce(
        self,
        run_id: str,
        *,
        times: int = 1,
        tolerance: float | Mapping[str, float] = 0.0,
        secrets: Mapping[str, Any] | None = None,
        listener: RunListener | None = None,
    ) -> Reproduction:
        """Run an earlier run again from its snapshot, without the cache, and compare what each node gives.

        Nothing but the verdict is kept, and operators with effects are not called: those that read what they
        gave get what they gave then.

        Args:
            times: how often it runs.
            tolerance: numbers count as equal that differ by less than this part of the larger one, or of 1;
                by node or operator where they have their own. Infinity excuses everything of a node.
            secrets: values of Secret parameters, which are stored nowhere.

        Raises:
            UsageError: it has not ended, or cannot be run again.

        Example:
            found = client.reproduce("1f3a", times=3)
            found.verdict, found.diverged
        """
        declared = Tolerance(of_nodes=tolerance) if isinstance(tolerance, Mapping) else Tolerance(tolerance)
        request = Request(params=secrets or {}, is_same=True)
        return self.run_reproduction(run_id, request, declared, times, listener)

    def run_reproduction(
        self,
        run_id: str,
        request: Request,
        tolerance: Tolerance,
        times: int = 1,
        listener: RunListener | None = None,
    ) -> Reproduction:
        """Reproduce a run as a request says; see `reproduce`."""
        return reproduce_run(
            self.get_record(run_id),
            self.settings,
            times=times,
            tolerance=tolerance,
            request=request,
            listener=listener,
        )

    def list_reproductions(self, run_id: str) -> list[Reproduction]:
        """Return the verdicts on a run, the newest first."""
        return self.catalog.list_reproductions(self.catalog.resolve_run_id(run_id))

    def bisect(
        self,
        run_a: str,
        run_b: str,
        metric: str,
        *,
        secrets: Mapping[str, Any] | None = None,
        executor: str = "local",
        cache: bool = True,
        listener: RunListener | None = None,
    ) -> Bisection:
        """Say which of the differences between two runs of a workflow moves a metric, and by how much.

        Differences are the code of an operator with its helpers, the workflow's own code, parameters, files
        by content, and the seed. Runs are made that have some of them: each alone, each taken back, and one
        after the other. They are in the experiment "bisect", with the result's id as their tag "bisect".

        Args:
            secrets: values of Secret parameters, which are stored nowhere.
            executor: what runs the mixtures.
            cache: False takes nothing from the cache.

        Raises:
            UsageError: the runs are not of one workflow, have not completed, or do not differ.
            NotFoundError: one of them has no such metric.

        Example:
            found = client.bisect("1f3a", "9c0d", "auc")
            for effect in found.effects:
                print(effect.difference.label, effect.from_a, effect.share)
        """
        options = BisectOptions(secrets or {}, False, executor, cache)
        return self.run_bisection(run_a, run_b, metric, options, listener)

    def run_bisection(
        self,
        run_a: str,
        run_b: str,
        metric: str,
        options: BisectOptions,
        listener: RunListener | None = None,
    ) -> Bisection:
        """Bisect two runs as the options say; see `bisect`."""
        first, second = self.get_record(run_a), self.get_record(run_b)
        return bisect_runs(first, second, metric, self.settings, options, listener)

    def run_request(
        self, run_id: str, request: Request, listener: RunListener | None = None, *, goes_on: bool = False
    ) -> Run:
        """Run an earlier run again as a request says; `rerun`, `clone` and `resume` make the usual ones."""
        again = resume_run if goes_on else run_again
        return self.get_run(again(self.get_record(run_id), request, self.settings, listener))
