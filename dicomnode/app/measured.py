"""The stages of the worker with a clock beside them: how long each takes, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dicomnode.config import DestinationSettings
from dicomnode.delivery.store import Sent
from dicomnode.errors import DeliveryRefusedError
from dicomnode.inference.gpu import readings
from dicomnode.log_context import about
from dicomnode.meters import OTHER, Meters

Deliver = Callable[[DestinationSettings, Sequence[Path], str], Sent]

# What an examination says of its progress begins so; what follows may be a label of a volume.
_STAGES = {
    "reading the series": "sort",
    "volume": "volume",
    "network foreground": "network foreground",
    "network anonymised_area": "network anonymised_area",
    "network face": "network face",
    "evidence": "evidence",
    "writing SEG": "seg",
    "pictures": "pictures",
}


class StageClock:
    """Told of each step of an examination, again and again; one ends where the next begins."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._sentence, self._stage, self._began = "", "", 0.0

    def __call__(self, sentence: str) -> None:
        if sentence == self._sentence:
            return
        self.end()
        self._sentence = sentence
        self._stage = next((s for text, s in _STAGES.items() if sentence.startswith(text)), OTHER)
        self._began = time.monotonic()

    def end(self) -> None:
        if self._stage:
            seconds = time.monotonic() - self._began
            self._meters.observe("examination_stage_seconds", seconds, stage=self._stage)
        self._sentence = self._stage = ""


def measured(deliver: Deliver, meters: Meters) -> Deliver:
    """The same, counted. Only a configured destination is named: senders choose their AE titles."""

    def send(destination: DestinationSettings, files: Sequence[Path], title: str) -> Sent:
        # `sender:AE@address`: no configured name can hold a colon.
        name = OTHER if ":" in destination.name else destination.name
        outcome = "failed"
        try:
            timing = meters.timing("delivery_attempt_seconds", destination=name)
            with about(destination=destination.name), timing:
                sent = deliver(destination, files, title)
            outcome = "delivered"
        except DeliveryRefusedError:
            outcome = "refused"
            raise
        finally:
            meters.count("delivery_attempts_total", destination=name, outcome=outcome)
        meters.set("destination_last_success_timestamp_seconds", time.time(), destination=name)
        return sent

    return send


def read_gpus(meters: Meters) -> None:
    for one in readings():
        gpu = str(one.index)
        meters.set("gpu_memory_used_bytes", one.memory_used_bytes, gpu=gpu)
        meters.set("gpu_memory_total_bytes", one.memory_total_bytes, gpu=gpu)
        if one.utilisation is not None:
            meters.set("gpu_utilisation_ratio", one.utilisation, gpu=gpu)
