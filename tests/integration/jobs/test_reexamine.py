"""What another version examined, again: on the real engine, behind all new series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from dicomnode.domain import Examination, Revision, Subject
from dicomnode.errors import JobError, ModelError
from dicomnode.jobs.engine import JobState, cancel
from dicomnode.jobs.reexamine import Requeued, Wish, reexamine
from dicomnode.jobs.workflows import Stages
from dicomnode.tracking import outdated
from tests import small_node
from tests.integration.jobs.conftest import Node, pacs, until
from tests.storage_peer import storage_peer

MakeNode = Callable[..., Node]


@dataclass
class Version:
    """What examines at the moment; `order` is that of the series it was given.

    Another name is another examiner, another `label` is another SEG.
    """

    node: Node
    name: str = "old"
    label: str = ""
    seconds: float = 0.0
    broken: bool = False
    order: list[str] = field(default_factory=list)

    def wanted(self, subjects: Sequence[Subject]) -> str:
        return self.name

    @property
    def stages(self) -> Stages:
        return replace(small_node.stages(self.node.settings), examine=self._examine)

    def _examine(self, revision: Revision) -> Examination:
        self.order.append(revision.series_instance_uid)
        if self.broken:
            raise ModelError("the network is gone")
        out = self.node.settings.results_folder
        found = small_node.examine(revision, out, self.seconds, labels=(self.label,))
        return replace(found, examiner_digest=self.name)

    def count(self) -> int:
        with self.node.database.read() as connection:
            return outdated.count(connection, self.wanted)

    def again(self, **wish: object) -> tuple[int, int, int]:
        """Queued, waiting, left."""
        found = reexamine(self.node.database, self.wanted, Wish(**wish))  # type: ignore[arg-type]
        assert isinstance(found, Requeued)
        return found.queued, found.waiting, found.left


def examined(node: Node, version: Version, *names: str) -> list[str]:
    """Put these series, and let this version examine them."""
    series = [node.put(name) for name in names]
    with node.working(version.stages):
        until(lambda: all(study.verdict for study in node.status()) and node.jobs() == [])
    version.order.clear()
    return series


def test_a_new_version_marks_and_reexamine_brings_up_to_date(
    make_node: MakeNode, database_url: str
) -> None:
    with storage_peer() as peer:
        node = make_node(pacs(peer.port), url=database_url)
        version = Version(node)
        series = examined(node, version, "a", "b", "c")
        assert version.count() == 0
        assert version.again() == (0, 0, 0)
        version.name, version.label = "new", "another"
        assert version.count() == 3
        assert version.again() == (3, 0, 0)
        with node.working(version.stages):
            until(lambda: version.count() == 0)
            until(lambda: node.jobs() == [])
    assert sorted(version.order) == sorted(series)
    assert list(peer.received.values()) == [1] * 6
    assert node.states() == ["delivered"] * 3
    assert version.again() == (0, 0, 0)


def test_a_new_version_alone_queues_nothing(make_node: MakeNode) -> None:
    node = make_node()
    version = Version(node)
    examined(node, version, "a")
    version.name = "new"
    with node.working(version.stages):
        node.put("b")
        until(lambda: len(version.order) == 1)
        until(lambda: node.jobs() == [])
    assert version.count() == 1


def test_the_same_result_is_not_sent_again(make_node: MakeNode, database_url: str) -> None:
    with storage_peer() as peer:
        node = make_node(pacs(peer.port), url=database_url)
        version = Version(node)
        examined(node, version, "a")
        version.name = "other thresholds"
        assert version.again() == (1, 0, 0)
        with node.working(version.stages):
            until(lambda: version.count() == 0)
            until(lambda: node.jobs() == [])
    assert list(peer.received.values()) == [1]
    assert node.states() == ["delivered"]


def test_twice_queues_once_and_a_limit_leaves_the_rest(
    make_node: MakeNode, database_url: str
) -> None:
    node = make_node(url=database_url)
    version = Version(node)
    a, b, c, d = examined(node, version, "a", "b", "c", "d")
    version.name = "new"
    assert version.again(dry_run=True) == (4, 0, 0)
    assert version.again(dry_run=True, limit=3) == (3, 0, 1)
    assert node.jobs() == []
    assert version.again(series=b) == (1, 0, 0)
    assert version.again(limit=2) == (2, 1, 1)
    assert version.again(limit=2) == (1, 3, 0)
    assert version.again() == (0, 4, 0)
    assert {job.subject for job in node.jobs()} == {a, b, c, d}
    assert {job.state for job in node.jobs()} == {JobState.WAITING}
    version.name = "newer"  # what waits is examined by whoever is there then
    assert version.again() == (0, 4, 0)
    with node.working(version.stages):
        until(lambda: version.count() == 0)
    assert sorted(version.order) == sorted([a, b, c, d])


def test_one_study_and_what_is_up_to_date_are_examined_on_demand(make_node: MakeNode) -> None:
    node = make_node()
    version = Version(node)
    series, _ = examined(node, version, "a", "b")
    (study,) = (
        one.study_instance_uid
        for one in node.status()
        if one.series[0].series_instance_uid == series
    )
    assert version.again(study=study) == (0, 0, 0)
    assert version.again(study=study, everything=True) == (1, 0, 0)
    with node.working(version.stages):
        until(lambda: version.order == [series] and node.jobs() == [])
    assert version.again(study=study, everything=True) == (1, 0, 0)


def test_a_new_series_is_examined_before_the_backlog(
    make_node: MakeNode, database_url: str
) -> None:
    node = make_node(url=database_url)
    version = Version(node, seconds=0.1)
    backlog = examined(node, version, *"abcdefgh")
    version.name = "new"
    assert version.again() == (8, 0, 0)
    with node.working(version.stages):
        until(lambda: len(version.order) == 2)
        new = [node.put("new one"), node.put("new two")]
        until(lambda: version.count() == 0 and set(new) <= set(version.order))
    # What ran when they were found complete ends first, and no more than that.
    assert max(map(version.order.index, new)) <= 6
    assert sorted(version.order) == sorted(backlog + new)


def test_the_old_verdict_stays_until_the_new_one_comes(make_node: MakeNode) -> None:
    node = make_node()
    version = Version(node)
    examined(node, version, "a")
    version.name = "new"
    version.again()
    (job,) = node.jobs()
    assert node.status()[0].series[0].verdict == "DEFACED"
    cancel(node.database, job.id)
    assert node.status()[0].series[0].verdict == "DEFACED"
    assert version.again() == (1, 0, 0)  # a cancelled job is no job
    assert version.again() == (0, 1, 0)
    with node.working(version.stages):
        until(lambda: version.count() == 0)
    assert len(version.order) == 1


def test_a_reexamination_that_fails_holds_and_is_left_to_a_person(make_node: MakeNode) -> None:
    node = make_node()
    version = Version(node)
    examined(node, version, "a")
    version.name, version.broken = "new", True
    version.again()
    with node.working(version.stages):
        until(lambda: [job.state for job in node.jobs()] == [JobState.FAILED])
    assert node.status()[0].series[0].state == "failed"
    assert version.again(everything=True) == (0, 0, 0)


def test_a_series_that_grew_is_examined_once_with_all_of_it(make_node: MakeNode) -> None:
    node = make_node()
    version = Version(node)
    (series,) = examined(node, version, "a")
    version.name = "new"
    node.put("a", slices=1, first=3)
    assert version.again() == (0, 0, 0)
    with node.working(version.stages):
        until(lambda: version.order == [series] and node.jobs() == [])
    assert version.count() == 0


@pytest.mark.parametrize("wish", [Wish(study="1.2.3"), Wish(series="1.2.3")])
def test_an_unknown_uid_is_said(make_node: MakeNode, wish: Wish) -> None:
    node = make_node()
    with pytest.raises(JobError, match="nothing is queued"):
        reexamine(node.database, lambda subjects: "", wish)
