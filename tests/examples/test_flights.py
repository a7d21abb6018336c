from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from examples import flights as example
from flowlearner import InputError
from operators.features import encode
from operators.load import load_table
from operators.predict import predict

LEAKS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "late", "hour_start"}
DAYS = 40


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """All that left New York in the first weeks of the year, cancelled flights included."""
    rows = load_table(example.FLIGHTS)
    return rows[pd.to_datetime(rows["time_hour"]).dt.day_of_year <= DAYS].reset_index(drop=True)


@pytest.fixture(scope="module")
def timetable(flights: pd.DataFrame) -> pd.DataFrame:
    return example.describe_timetable(flights)


@pytest.fixture(scope="module")
def recent(flights: pd.DataFrame) -> pd.DataFrame:
    return example.measure_recent_delays(flights)


def make_flights(*rows: dict[str, object]) -> pd.DataFrame:
    """Flights of UA from EWR to ORD at 10:00 UTC, where a row does not say otherwise."""
    usual = {
        "time_hour": "2013-01-05T10:00:00Z",
        "minute": 0,
        "sched_arr_time": 745,
        "dep_delay": 0.0,
        "arr_delay": 0.0,
        "carrier": "UA",
        "origin": "EWR",
        "dest": "ORD",
        "tailnum": "N1",
        "distance": 700,
    }
    return pd.DataFrame([usual | row for row in rows])


class TestTimetable:
    def test_a_flight_is_late_above_15_minutes(self) -> None:
        rows = make_flights({"arr_delay": 15.0}, {"arr_delay": 16.0}, {"arr_delay": -5.0})
        assert example.describe_timetable(rows)["late"].tolist() == [0, 1, 0]

    def test_the_limit_may_be_chosen(self) -> None:
        assert example.describe_timetable(make_flights({"arr_delay": 16.0}), 30)["late"].tolist() == [0]

    def test_cancelled_and_diverted_flights_are_dropped_but_were_in_the_timetable(self) -> None:
        rows = make_flights({}, {"dep_delay": None, "arr_delay": None}, {"arr_delay": None})
        assert example.describe_timetable(rows)["flights_in_hour"].tolist() == [3]

    def test_hours_and_weekdays_are_those_of_new_york(self) -> None:
        found = example.describe_timetable(make_flights({"time_hour": "2013-07-06T02:00:00Z", "minute": 30}))
        assert found[["weekday", "hour", "departs_minute", "arrives_minute"]].iloc[0].tolist() == [
            4,
            22,
            1350,
            465,
        ]

    def test_a_timestamp_does_as_well_as_text(self, flights: pd.DataFrame) -> None:
        rows = flights.head(1000)
        stamps = rows.assign(time_hour=pd.to_datetime(rows["time_hour"], utc=True))
        pd.testing.assert_frame_equal(example.describe_timetable(stamps), example.describe_timetable(rows))

    def test_it_keeps_every_flight_that_arrived(self, flights: pd.DataFrame, timetable: pd.DataFrame) -> None:
        assert len(timetable) == flights["arr_delay"].notna().sum()


class TestRecentDelays:
    def find(self, rows: pd.DataFrame, hour: str = "10:00", carrier: str = "UA") -> pd.Series:  # type: ignore[type-arg]
        found = example.measure_recent_delays(rows).set_index(["hour_start", "carrier"])
        return found.loc[(pd.Timestamp(f"2013-01-05T{hour}Z"), carrier)]

    def test_departures_of_the_two_hours_before_count_by_when_they_left(self) -> None:
        rows = make_flights(
            {},
            {"time_hour": "2013-01-05T09:00:00Z", "dep_delay": 59.0},
            {"time_hour": "2013-01-05T09:00:00Z", "dep_delay": 60.0},
            {"time_hour": "2013-01-05T07:00:00Z", "dep_delay": 61.0},
            {"time_hour": "2013-01-05T07:00:00Z", "dep_delay": 59.0},
        )
        found = self.find(rows)
        assert found["origin_departures"] == 2
        assert found["origin_delay"] == 60

    def test_a_flight_past_its_time_waits_until_it_has_left(self) -> None:
        rows = make_flights({}, {"time_hour": "2013-01-05T08:00:00Z", "dep_delay": 150.0})
        assert self.find(rows)["origin_waiting"] == 1
        assert (
            self.find(make_flights({"time_hour": "2013-01-05T11:00:00Z"}, *rows.to_dict("records")), "11:00")[
                "origin_waiting"
            ]
            == 0
        )

    def test_a_cancelled_flight_waits_for_six_hours(self) -> None:
        cancelled = {"time_hour": "2013-01-05T04:00:00Z", "minute": 30, "dep_delay": None}
        rows = make_flights({}, {"time_hour": "2013-01-05T11:00:00Z"}, cancelled)
        assert self.find(rows)["origin_waiting"] == 1
        assert self.find(rows, "11:00")["origin_waiting"] == 0

    def test_another_airport_does_not_count_and_another_carrier_only_for_the_airport(self) -> None:
        before = {"time_hour": "2013-01-05T09:00:00Z", "dep_delay": 20.0}
        found = self.find(make_flights({}, before | {"origin": "JFK"}, before | {"carrier": "AA"}))
        assert (found["origin_departures"], found["carrier_departures"]) == (1, 0)
        assert np.isnan(found["carrier_delay"])

    def test_it_agrees_with_counting_one_by_one(self, flights: pd.DataFrame, recent: pd.DataFrame) -> None:
        starts = pd.to_datetime(flights["time_hour"], utc=True)
        scheduled = starts + pd.to_timedelta(flights["minute"], unit="min")
        left = scheduled + pd.to_timedelta(flights["dep_delay"], unit="min")
        hour, day = pd.Timedelta(hours=1), pd.Timedelta(hours=6)
        for row in recent.sample(60, random_state=0).itertuples():
            here = (flights["origin"] == row.origin).to_numpy()
            now = row.hour_start
            gone = here & (left < now) & (left >= now - 2 * hour)
            waits = here & (scheduled < now) & ~(left < now) & (scheduled >= now - day)
            assert (row.origin_departures, row.origin_waiting) == (gone.sum(), waits.sum())
            own = gone & (flights["carrier"] == row.carrier)
            assert row.carrier_departures == own.sum()
            assert row.carrier_delay == pytest.approx(flights["dep_delay"][own].mean(), rel=1e-5, nan_ok=True)

    @pytest.mark.parametrize("day", [5, 14, 23, 39])
    def test_nothing_that_happens_later_changes_what_was_known(
        self, flights: pd.DataFrame, recent: pd.DataFrame, day: int
    ) -> None:
        now = pd.Timestamp("2013-01-01T22:00Z") + pd.Timedelta(days=day - 1)
        starts = pd.to_datetime(flights["time_hour"], utc=True)
        scheduled = starts + pd.to_timedelta(flights["minute"], unit="min")
        is_open = ~(scheduled + pd.to_timedelta(flights["dep_delay"], unit="min") < now)
        # Whatever had not left by then leaves at another time from then on, or never, and arrives at any.
        later = (np.maximum(scheduled, now) - scheduled) / pd.Timedelta(minutes=1) + flights.index % 500
        changed = flights.assign(
            dep_delay=flights["dep_delay"].where(~is_open, later.where(flights.index % 3 > 0)),
            arr_delay=flights["arr_delay"].where(~is_open, 999.0),
        )
        known = recent[recent["hour_start"] <= now].reset_index(drop=True)
        again = example.measure_recent_delays(changed)
        pd.testing.assert_frame_equal(again[again["hour_start"] <= now].reset_index(drop=True), known)


class TestJoins:
    def test_the_weather_is_that_of_the_hour_before(
        self, timetable: pd.DataFrame, recent: pd.DataFrame
    ) -> None:
        weather = load_table(example.WEATHER)
        weather["temp"] = np.arange(len(weather), dtype=float)
        known = example.join_weather(example.join_recent_delays(timetable, recent), weather)
        row = known.iloc[5000]
        hour = (row["hour_start"] - pd.Timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        place = weather.index[(weather["origin"] == row["origin"]) & (weather["time_hour"] == hour)]
        assert place.tolist() == [row["temp"]]

    def test_every_flight_finds_how_things_stood(self, timetable: pd.DataFrame, recent: pd.DataFrame) -> None:
        joined = example.join_recent_delays(timetable, recent)
        assert joined["origin_departures"].notna().all()
        pd.testing.assert_frame_equal(joined[timetable.columns.tolist()], timetable)

    def test_the_joins_keep_each_flight_once_and_give_the_declared_columns(
        self, timetable: pd.DataFrame, recent: pd.DataFrame
    ) -> None:
        rows = example.join_recent_delays(timetable, recent)
        rows = example.join_weather(rows, load_table(example.WEATHER))
        rows = example.join_planes(rows, load_table(example.PLANES))
        rows = example.join_airports(rows, load_table(example.AIRPORTS))
        columns = example.join_airports.interface.outputs[0].type.columns
        assert list(rows.columns) == list(columns.names if columns else ())
        assert len(rows) == len(timetable)
        assert set(example.FEATURES) == set(rows.columns) - {"hour_start", "hour", "late"}

    def test_a_plane_that_occurs_twice_is_refused(
        self, timetable: pd.DataFrame, recent: pd.DataFrame
    ) -> None:
        planes = load_table(example.PLANES)
        rows = example.join_recent_delays(timetable, recent).assign(**dict.fromkeys(example.CONDITIONS, 0.0))
        with pytest.raises(InputError, match=r"'planes': tailnum = N10156 occurs more than once"):
            example.join_planes(rows, pd.concat([planes, planes.head(1)], ignore_index=True))


def test_no_column_that_leaks_is_a_feature() -> None:
    assert LEAKS.isdisjoint(example.FEATURES)


def test_the_baseline_is_the_smoothed_rate_of_rows_that_are_alike() -> None:
    train = pd.DataFrame({"carrier": ["UA"] * 4 + ["AA"] * 4, "late": [1, 1, 1, 0, 0, 0, 0, 1]})
    test = pd.DataFrame({"carrier": ["UA", "AA", "DL"], "late": [1, 0, 1]})
    found = example.predict_rate(train, test, "late", ["carrier"], weight=4.0)
    assert found["probability"].tolist() == [(3 + 2) / 8, (1 + 2) / 8, 0.5]
    assert found["late"].tolist() == [1, 0, 1]


@pytest.mark.slow
def test_the_model_of_the_whole_year_beats_the_baseline_and_takes_plain_rows() -> None:
    found = example.delays()
    assert found.baseline_auc == pytest.approx(0.6216, abs=0.001)
    assert found.auc == pytest.approx(0.733, abs=0.01)
    assert found.logloss < found.baseline_logloss - 0.04
    assert found.brier < found.baseline_brier - 0.02
    assert found.calibration_error < 0.03
    row = dict.fromkeys(example.FEATURES, 1.0) | {
        "origin": "EWR",
        "dest": "ORD",
        "carrier": "UA",
        "manufacturer": None,
    }
    assert len(predict(found.model, pd.DataFrame([row]))) == 1


def test_the_encoder_of_the_example_knows_only_train_rows() -> None:
    rows = pd.DataFrame({"origin": ["EWR", "JFK"], "late": [0, 1]})
    assert encode(rows.head(1), rows, "late", method="ordinal").test["origin"].tolist() == [0.0, -1.0]
