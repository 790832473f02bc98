"""Lives the months from March to December again: hour by hour, only with what was known by then.

At the full hour T
  1. what became known since the hour before is handed in: flights that have landed, weather that was reported;
  2. the labels of the landed flights go to the predictions they belong to;
  3. the flights that should depart within [T, T + 1 h) are asked about, in one Open Inference Protocol request.
A day after a month has ended its file is added to the dataset, and the replay holds its breath until the platform has
done what it wants to do:
close the window, retrain, test, begin a canary. Nothing here decides about any of that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import tidemill

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NAME = "flight-delay"
NUMBERS = ("sched_minute", "dow", "distance", "sched_duration")
TEXTS = ("carrier", "origin", "dest", "tailnum")
FACTS = ["flight_id", "landed_ms", "carrier", "origin", "dest", "late"]  # of a landed flight, for the rolling rates


def month_start_ms(month: int) -> int:
    """Midnight in New York's winter time, where the monitor's windows begin."""
    year, number = (2013, month) if month <= 12 else (2014, month - 12)
    return int(pd.Timestamp(year=year, month=number, day=1, hour=5, tz="UTC").timestamp() * 1000)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON objects; missing values are None."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


@dataclass
class Hour:
    start_ms: int
    landed: list[dict[str, Any]]
    weather: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    request: dict[str, Any] | None
    rows: int


def request_of(asked: pd.DataFrame) -> dict[str, Any]:
    rows = len(asked)
    inputs = [{"name": n, "datatype": "INT64", "shape": [rows], "data": asked[n].tolist()} for n in NUMBERS]
    inputs += [{"name": n, "datatype": "BYTES", "shape": [rows], "data": asked[n].fillna("").tolist()} for n in TEXTS]
    parameters = {"prediction_ids": asked.flight_id.tolist(), "at_ms": asked.sched_dep_ms.tolist()}
    return {"inputs": inputs, "parameters": parameters}


class Year:
    """The files of the year, cut into hours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        flights = pd.concat([pd.read_csv(self.flights_file(m), dtype={"tailnum": "object"}) for m in range(1, 13)])
        weather = pd.concat([pd.read_csv(self.weather_file(m)) for m in range(1, 13)])
        self._from_ms = month_start_ms(3)
        landed = flights[flights.landed_ms.notna()].astype({"landed_ms": "int64", "late": "int64"})
        asked = flights[flights.sched_dep_ms >= self._from_ms]
        self.asked_total = len(asked)  # if the whole year is lived
        self._asked = dict(list(asked.groupby(asked.sched_dep_ms // HOUR_MS)))
        self._landed = dict(list(landed.groupby(landed.landed_ms // HOUR_MS)))
        known_ms = weather.observed_ms + 55 * 60_000
        self._weather = dict(list(weather.groupby(known_ms // HOUR_MS)))

    def flights_file(self, month: int) -> Path:
        return self.folder / f"flights-2013-{month:02}.csv"

    def weather_file(self, month: int) -> Path:
        return self.folder / f"weather-2013-{month:02}.csv"

    def hours(self, until: int) -> Iterator[Hour]:
        """Every hour from March on until a day after the month `until` has ended."""
        until_ms = month_start_ms(until + 1) + DAY_MS
        for hour in range(self._from_ms // HOUR_MS, until_ms // HOUR_MS + 1):
            landed, weather, asked = self._landed.get(hour - 1), self._weather.get(hour - 1), self._asked.get(hour)
            labels = []
            if landed is not None:
                # Flights of February that land in March were never asked about.
                mine = landed[landed.sched_dep_ms >= self._from_ms]
                labels = [
                    {"id": i, "label": int(late), "at_ms": int(at)}
                    for i, late, at in zip(mine.flight_id, mine.late, mine.landed_ms)
                ]
            yield Hour(
                hour * HOUR_MS,
                [] if landed is None else records(landed[FACTS]),
                [] if weather is None else records(weather),
                labels,
                None if asked is None else request_of(asked),
                0 if asked is None else len(asked),
            )


class Replay:
    def __init__(
        self, client: tidemill.Client, year: Year, until: int, progress: Callable[[int, int, str], None]
    ) -> None:
        self._client = client
        self._until = until
        self._year = year
        self._progress = progress
        self._sources = ThreadPoolExecutor(3)
        self._month = 3
        self._canary = False
        self.predictions = 0

    def run(self) -> None:
        for hour in self._year.hours(self._until):
            self._hand_in(hour)
            if hour.start_ms >= month_start_ms(self._month + 1) + DAY_MS:
                self._end_month()
            elif self._canary:
                self._settle()

    def _hand_in(self, hour: Hour) -> None:
        client = self._client
        month_ends = hour.start_ms >= month_start_ms(self._month + 1) + DAY_MS
        if month_ends:
            # The month's files are there before the window closes, since the window's end is what starts a training.
            self._add_files(self._month)
        # Three sources that know nothing of each other hand in at the same time; the question waits for all of them.
        handed_in = [self._sources.submit(client.predictions.label, NAME, hour.labels, until_ms=hour.start_ms)]
        for dataset, rows in (("flights", hour.landed), ("weather", hour.weather)):
            if rows:
                handed_in.append(self._sources.submit(client.features.push, dataset, rows))
        for each in handed_in:
            each.result()
        if month_ends:
            self._settle()  # the new month's canary begins before its next flight is asked about
        if hour.request:
            client.predictions.infer(NAME, hour.request)
            self.predictions += hour.rows
            when = time.strftime("%Y-%m-%d", time.gmtime(hour.start_ms / 1000))
            self._progress(self.predictions, self._year.asked_total, when)

    def _end_month(self) -> None:
        self._settle()
        self._month += 1

    def _settle(self) -> None:
        """Waits until the platform has nothing left to do: real trainings take real time."""
        while not self._client.idle():
            time.sleep(0.02)
        self._canary = self._client.deployments.get(NAME).get("candidate") is not None

    def _add_files(self, month: int) -> None:
        for dataset, file in (("flights", self._year.flights_file(month)), ("weather", self._year.weather_file(month))):
            add_once(self._client, dataset, file)


def add_once(client: tidemill.Client, dataset: str, file: Path) -> None:
    """Adds a file as a version. After a lost answer it first looks whether the file has arrived."""
    while True:
        try:
            client.datasets.add(dataset, file)
            return
        except tidemill.Unreachable:
            time.sleep(0.2)
            newest = client.datasets.versions(dataset)
            numbers = [version["number"] for version in newest]
            parts = client.datasets.version(dataset, max(numbers))["parts"] if numbers else []
            if any(part["filename"] == file.name for part in parts):
                return
