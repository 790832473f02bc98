"""Tidemill: thin typed client of the machine-learning life cycle in one binary.

    >>> import tidemill
    >>> client = tidemill.Client("http://127.0.0.1:7070")
    >>> client.datasets.add("flights", "2013-01.csv")["number"]
    1

One object holds all state: the `Client`. Inside a step of a pipeline, `tidemill.step()` gives inputs, outputs and
parameters.
Only the standard library is needed; importing takes a few milliseconds.
"""

from ._client import Client
from ._errors import (
    Conflict,
    GateNotMet,
    NotFound,
    Refused,
    TidemillError,
    Unreachable,
    WrongInput,
)
from ._step import Step, step

__all__ = [
    "Client",
    "Conflict",
    "GateNotMet",
    "NotFound",
    "Refused",
    "Step",
    "TidemillError",
    "Unreachable",
    "WrongInput",
    "step",
]

__version__ = "0.1.0"
