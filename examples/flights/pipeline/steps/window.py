"""Decides which rows to learn from and which to keep for the tests."""

import tidemill

DAY_MS = 86_400_000

step = tidemill.step()
until_ms = int(step.params["until_ms"])
split_ms = until_ms - int(step.params["test_days"]) * DAY_MS
step.result({"from_ms": until_ms - int(step.params["learn_days"]) * DAY_MS, "split_ms": split_ms})
