"""What a process measures, and how it comes to the role that is asked for it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dicomnode.meters import METERS, OTHER, Distribution, Meters
from dicomnode.tracking.pulses import STALE_SECONDS, Pulse, beats
from dicomnode.web.metrics import exposition, of_processes


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels, read as Prometheus reads them."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_histogram_counts_each_value_once_in_the_first_bucket_that_holds_it() -> None:
    found = Distribution.of([0.5, 1.0, 1.1, 99.0], (1.0, 10.0))
    assert found.counts == (2, 1, 1)
    assert found.sum == pytest.approx(101.6)


def test_what_a_process_measured_is_read_by_prometheus_with_role_and_number(tmp_path: Path) -> None:
    meters = Meters()
    for seconds in (0.004, 0.3, 99.0):
        meters.observe("receive_seconds", seconds, way="c-store")
    meters.count("associations_rejected_total", reason='a "strange"\nreason \\')
    Pulse(tmp_path, "scp", meters).beat()
    told = samples(exposition(of_processes(beats(tmp_path))))
    place = (("process", "0"), ("role", "scp"))
    way = tuple(sorted((*place, ("way", "c-store"))))
    name = "dicomnode_receive_seconds"
    assert told[(f"{name}_count", way)] == 3
    assert told[(f"{name}_sum", way)] == pytest.approx(99.304)

    def below(bound: str) -> float:
        return told[(f"{name}_bucket", tuple(sorted((*way, ("le", bound)))))]

    assert [below(bound) for bound in ("0.005", "0.25", "0.5", "30", "+Inf")] == [1, 1, 2, 2, 3]
    reason = tuple(sorted((*place, ("reason", 'a "strange"\nreason \\'))))
    assert told[("dicomnode_associations_rejected_total", reason)] == 1
    assert told[("dicomnode_resident_memory_bytes", place)] > 1_000_000
    assert told[("dicomnode_heartbeat_age_seconds", place)] < STALE_SECONDS


def test_label_values_are_bounded() -> None:
    meters = Meters()
    for number in range(500):
        meters.count("associations_rejected_total", reason=str(number))
    (family,) = meters.families()
    assert len(family.values) <= 101
    assert family.values[(OTHER,)] == 400


def test_an_unknown_meter_or_label_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Meters().count("nonsense_total")
    with pytest.raises(KeyError):
        Meters().count("associations_rejected_total", peer="10.0.0.1")


def test_no_meter_is_named_by_what_could_identify_a_patient() -> None:
    allowed = {"way", "outcome", "sender", "reason", "door", "stage", "destination", "gpu"}
    assert {label for meter in METERS.values() for label in meter.labels} == allowed


def test_processes_of_a_role_have_numbers_and_give_them_back(tmp_path: Path) -> None:
    first, second = (Pulse(tmp_path, "work", Meters()) for _ in range(2))
    first.beat()
    second.beat()
    assert [(beat.role, beat.process) for beat in beats(tmp_path)] == [("work", "0"), ("work", "1")]
    first.stop()
    assert [beat.process for beat in beats(tmp_path)] == ["1"]
    third = Pulse(tmp_path, "work", Meters())
    third.beat()
    assert [beat.process for beat in beats(tmp_path)] == ["0", "1"]


def test_a_process_that_was_killed_is_told_as_silent_and_its_values_are_not(tmp_path: Path) -> None:
    meters = Meters()
    meters.set("gpu_memory_used_bytes", 5.0, gpu="0")
    Pulse(tmp_path, "work", meters).beat()
    long_ago = time.time() - 2 * STALE_SECONDS
    os.utime(tmp_path / "work-0.json", (long_ago, long_ago))
    (beat,) = beats(tmp_path)
    assert not beat.is_alive
    told = exposition(of_processes([beat]))
    assert "gpu" not in told
    assert 'heartbeat_age_seconds{role="work",process="0"} 6' in told


@pytest.mark.parametrize("content", ["", "{", '{"nonsense": [[[], 1]]}', "[1]", '{"gpu": 3}'])
def test_a_pulse_of_another_version_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "work-0.json").write_text(content)
    assert beats(tmp_path) == ()


def test_a_folder_that_cannot_be_written_costs_the_pulse_only(tmp_path: Path) -> None:
    (tmp_path / "pulses").write_text("a file")
    pulse = Pulse(tmp_path / "pulses", "scp", Meters())
    pulse.beat()
    pulse.stop()
    assert beats(tmp_path / "pulses") == ()
