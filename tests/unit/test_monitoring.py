"""The dashboard and the alert rules ask for nothing that the node does not tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dicomnode.config import Settings
from dicomnode.inference.examiner import ExaminerInUse
from dicomnode.intake.intake import Intake
from dicomnode.meters import METERS, Meters
from dicomnode.tracking import audit, deliveries, instances, quarantine
from dicomnode.tracking import examinations as examined_rows
from dicomnode.tracking.database import Database
from dicomnode.tracking.pulses import Pulse
from dicomnode.tracking.quarantine import QuarantinedObject
from dicomnode.tracking.series import add_revision
from dicomnode.tracking.spool import Spool
from dicomnode.web.counted import Counted
from dicomnode.web.metrics import exposition
from dicomnode.web.monitor import Monitor
from tests.unit.tracking.rows import SERIES, at, examined, instance, refused

MONITORING = Path(__file__).parents[2] / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))
RULES = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
# What Prometheus adds to every series.
_ADDED = {"instance", "job"}


def dashboard_expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def alert_expressions() -> list[str]:
    folded = re.sub(r"expr: >-\n((?:\s{10,}.*\n)+)", lambda m: "expr: " + _one_line(m[1]), RULES)
    return re.findall(r"expr: (.+)", folded)


def _one_line(lines: str) -> str:
    return " ".join(line.strip() for line in lines.splitlines()) + "\n"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """The labels of each metric of a node in which everything has happened once."""
    folder = tmp_path_factory.mktemp("monitoring")
    peer = {"name": "pacs", "ae_title": "P", "host": "h", "port": 104}
    settings = Settings.model_validate(
        {"node": {"data_folder": folder}, "destinations": [peer], "scp": {"minimum_free_bytes": 0}}
    )
    database, spool = Database(settings.database_url), Spool(settings.spool_folder)
    database.migrate()
    spool.prepare()
    _everything_once(database, spool)
    meters = Meters()
    for name, meter in METERS.items():
        labels = dict.fromkeys(meter.labels, "x")
        (meters.observe if meter.kind == "histogram" else meters.set)(name, 1.0, **labels)
    Pulse(settings.pulses_folder, "work", meters).beat()
    intake = Intake(settings.scp, database, spool, "monitoring")
    counted = Counted(settings, database, ExaminerInUse(settings))
    text = exposition((*counted.families(), *Monitor(settings, intake, database, counted).here()))
    yield {
        sample.name: set(sample.labels) | _ADDED
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    database.close()


def _everything_once(database: Database, spool: Spool) -> None:
    conflict = QuarantinedObject(datetime.now(UTC), "c/ab.dcm", "conflict", "why", 1, "1.2.3")
    with database.begin() as c:
        instances.add(c, [instance(1, series=f"{SERIES}.{n}") for n in (1, 2, 3)])
        good, bad = (add_revision(c, key, spool, at(30)) for key in (1, 2))
        assert good is not None
        assert bad is not None
        deliveries.add(c, examined_rows.record(c, good.id, examined(good)), "pacs")
        examined_rows.record(c, bad.id, refused(bad))
        quarantine.add(c, [conflict])
        audit.append(c, "login refused", "")


def wrong(expression: str, told: dict[str, set[str]]) -> list[str]:
    """Names that the node does not tell, and labels that they do not have."""
    found = []
    for name, matchers in re.findall(r"(dicomnode_\w+)(?:\{([^}]*)\})?", expression):
        if name not in told:
            found.append(name)
            continue
        labels = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)
        found += [f"{name}: {label}" for label in labels if label not in told[name]]
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            labels = {label.strip() for label in grouped.split(",")} - {"le"}
            found += [f"{name}: by {label}" for label in labels if label not in told[name]]
    return found


@pytest.mark.parametrize("expression", [*dashboard_expressions(), *alert_expressions()])
def test_every_metric_and_label_that_is_asked_for_is_told(
    told: dict[str, set[str]], expression: str
) -> None:
    assert wrong(expression, told) == []
    assert "dicomnode_" in expression or expression.startswith("up{")


def test_every_measurement_of_a_process_is_on_the_dashboard() -> None:
    text = " ".join(dashboard_expressions())
    assert [name for name in METERS if f"dicomnode_{name}" not in text] == []


def test_a_name_that_does_not_exist_is_seen(told: dict[str, set[str]]) -> None:
    assert wrong("sum(dicomnode_nonsense_total)", told) == ["dicomnode_nonsense_total"]
    assert wrong('dicomnode_queue_depth{lane="gpu"}', told) == ["dicomnode_queue_depth: lane"]


def test_the_dashboard_has_no_two_panels_on_one_place_and_no_id_twice() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool isn't installed")
def test_prometheus_understands_every_expression(tmp_path: Path) -> None:
    variables = {"$__rate_interval": "5m", "$instance": ".*"}
    rules = []
    for number, expression in enumerate(dashboard_expressions()):
        for variable, value in variables.items():
            expression = expression.replace(variable, value)
        rules.append({"record": f"panel:{number}", "expr": expression})
    file = tmp_path / "dashboard.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    command = ["promtool", "check", "rules", str(file), str(MONITORING / "alerts.yml")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
