"""A site with a review desk: a real database, real objects in the spool, drawn heads in pictures.

Nobody's face is in it. Networks are not run: what they would have found is drawn too.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from subprocess import STDOUT, Popen

import httpx
import numpy as np
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from dicomnode import config
from dicomnode.config import Settings
from dicomnode.dicom.file_format import read_received, split_file
from dicomnode.domain import (
    Evidence,
    Examination,
    ExaminedVolume,
    FaceSurface,
    HeaderClaims,
    Picture,
    Refusal,
    RefusalCode,
    Revision,
    Role,
    SegmentKind,
    SetAside,
    StoredInstance,
    Verdict,
    VerdictKind,
    View,
)
from dicomnode.gate import keys
from dicomnode.inference.cuts import MarkedVolume
from dicomnode.inference.examiner import ExaminerInUse, installed_examiner
from dicomnode.inference.pictures import write_pictures
from dicomnode.inference.rendering import render
from dicomnode.tracking import accounts, examinations, instances, passwords, series, study_list
from dicomnode.tracking.database import Database
from dicomnode.tracking.facts import unrevised
from dicomnode.tracking.findings import verdicts_of_study
from dicomnode.tracking.spool import Spool
from dicomnode.training.drawn import draw_head
from dicomnode.training.drawn_defacing import deface_drawn
from dicomnode.web.desk.desk import Desk
from dicomnode.web.desk.mounting import mount_desk
from dicomnode.web.identity import Identity
from dicomnode.web.people import make_pages
from tests.e2e.site import wait_until
from tests.factories import make_series
from tests.ports import free_ports

PASSWORD = "correct horse battery staple"
ORIGIN = "http://127.0.0.1"
SPACING_MM = 3.0
REASONS: Mapping[VerdictKind, Sequence[str]] = {
    VerdictKind.DEFACED: ("320 ml of anonymised area in one piece",),
    VerdictKind.NO_FACE_IN_VIEW: ("0 ml of anonymised area: nothing was removed here",),
    VerdictKind.UNDETERMINED: (
        "12 ml of exposed face, between 8 ml and 35 ml: too much for none, too little for a face",
        "320 ml of anonymised area in one piece",
    ),
    VerdictKind.FACE_VISIBLE: ("112 ml of exposed face, 35 ml or more",),
}
LOCALIZER = SetAside(
    Refusal(RefusalCode.LOCALIZER, "It is a localizer.", "ImageType", ("LOCALIZER",)), images=3
)


@cache
def _password_hash() -> str:
    return passwords.hashed(PASSWORD)


def no_pictures(_folder: Path, _kind: VerdictKind) -> tuple[Picture, ...]:
    return ()


def grey_pictures(folder: Path, _kind: VerdictKind) -> tuple[Picture, ...]:
    """Of nothing, and soon made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "grey.png"
    Image.new("L", (8, 8), 128).save(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    every = itertools.product((View.AXIAL, View.FRONT), (False, True))
    return tuple(Picture(view, has_masks, path, sha256, 8, 8) for view, has_masks in every)


@cache
def drawn_pictures(folder: Path, kind: VerdictKind) -> tuple[Picture, ...]:
    """Real pictures of a head that was drawn, as the worker makes them: 10 s for each kind."""
    drawn = draw_head(3, "MR", spacing_mm=SPACING_MM)
    array, masks = drawn.array, {SegmentKind.FOREGROUND: drawn.foreground}
    if kind is VerdictKind.FACE_VISIBLE:
        masks[SegmentKind.FACE] = drawn.face
    else:
        array, removed = deface_drawn(drawn, "face_box:zero", 3)
        masks[SegmentKind.ANONYMISED_AREA] = removed
    found = {name: np.asarray(mask).astype(np.uint8) for name, mask in masks.items()}
    spacing = (SPACING_MM, SPACING_MM, SPACING_MM)
    verdict = Verdict(kind, "face-is-gone", 3, tuple(REASONS[kind]))
    volume = MarkedVolume(np.asarray(array, np.float32), spacing, "MR", found)
    skin = render(volume.array, spacing, "MR", found)
    return write_pictures(folder, f"-{kind.value.lower()}", volume, verdict, skin)


Draw = Callable[[Path, VerdictKind], tuple[Picture, ...]]


@dataclass(frozen=True)
class Site:
    """`folder` holds all of it; the desk answers at `address` while `running_desk` lasts."""

    folder: Path
    config: Path
    address: str
    settings: Settings = field(repr=False)
    database: Database = field(repr=False)

    def add_account(self, name: str, role: Role) -> None:
        with self.database.begin() as c:
            accounts.create(c, name, role, password_hash=_password_hash())

    def receive(self, study: str, name: str, *, slices: int = 4, modality: str = "MR") -> str:
        """Put a series into the spool and the index; returns its Series Instance UID."""
        files = make_series(
            self.folder / "made" / study / name,
            study=study,
            series=f"{study} {name}",
            slices=slices,
            modality=modality,
            patient="Nobody^Drawn",
        )
        spool = Spool(self.settings.spool_folder)
        spool.prepare()
        stored = [self._stored(spool, file) for file in files]
        with self.database.begin() as c:
            instances.add(c, stored)
        return stored[0].header.series_instance_uid

    def _stored(self, spool: Spool, file: Path) -> StoredInstance:
        data = file.read_bytes()
        found = read_received("", file)
        offset = len(data) - len(split_file(data)[1])
        kept = spool.store(found.header.sop_instance_uid, data[:offset], data[offset:])
        at = datetime.now(UTC)
        return replace(found, name=kept.name, received_at=at, calling_ae_title="SCANNER")

    def complete(self, series_uid: str) -> Revision:
        spool, now = Spool(self.settings.spool_folder), datetime.now(UTC)
        with self.database.begin() as c:
            (waiting,) = (w for w in unrevised(c, now) if w.series_instance_uid == series_uid)
            revision = series.add_revision(c, waiting.series_id, spool, now)
        assert revision is not None
        return revision

    def revision(self, series_uid: str) -> Revision:
        """The one that counts now."""
        with self.database.read() as c:
            found = verdicts_of_study(c, self.study_of(series_uid))
            (finding,) = (one for one in found if one.series_instance_uid == series_uid)
            assert finding.revision_id is not None
            return series.load_revision(c, finding.revision_id, Spool(Path()))

    def study_of(self, series_uid: str) -> str:
        with self.database.read() as c:
            (row,) = study_list.search(c, series_uid)
        return row.study_instance_uid

    def examine(
        self,
        revision: Revision,
        *verdicts: VerdictKind,
        set_aside: Sequence[SetAside] = (),
        pictures: Draw = no_pictures,
        labels: Sequence[str] = (),
    ) -> int:
        """Record an examination with a volume for each verdict; returns its id."""
        names = labels or [f"EchoTime {5 * n}" if len(verdicts) > 1 else "" for n in range(9)]
        volumes = tuple(
            self._volume(kind, label, pictures)
            for kind, label in zip(verdicts, names, strict=False)
        )
        wanted = installed_examiner(self.settings).wanted_digest
        digest = wanted([volume.evidence.subject for volume in volumes])
        found = Examination(revision.digest, volumes, tuple(set_aside), "test", digest)
        with self.database.begin() as c:
            examinations.start(c, revision.id)
            return examinations.record(c, revision.id, found)

    def fail(self, revision: Revision, sentence: str) -> None:
        with self.database.begin() as c:
            examinations.record_failure(c, revision.id, sentence)

    def add(self, study: str, name: str, *verdicts: VerdictKind, **options) -> tuple[str, str]:  # type: ignore[no-untyped-def]
        """Receive and examine; returns Study and Series Instance UID."""
        revision = self.complete(self.receive(study, name))
        self.examine(revision, *verdicts, **options)
        return revision.study_instance_uid, revision.series_instance_uid

    def _volume(self, kind: VerdictKind, label: str, pictures: Draw) -> ExaminedVolume:
        evidence = _evidence(self.settings, kind)
        verdict = Verdict(kind, "face-is-gone", 3, tuple(REASONS[kind]))
        shown = pictures(self.settings.results_folder / "pictures", kind)
        return ExaminedVolume(label, 4, evidence, verdict, pictures=shown)


def _evidence(settings: Settings, kind: VerdictKind) -> Evidence:
    face = {VerdictKind.FACE_VISIBLE: 112.0, VerdictKind.UNDETERMINED: 12.0}.get(kind, 0.0)
    removed = 320.0 if kind in (VerdictKind.DEFACED, VerdictKind.UNDETERMINED) else 0.0
    ml = {
        SegmentKind.FOREGROUND: 4012.0,
        SegmentKind.ANONYMISED_AREA: removed,
        SegmentKind.FACE: face,
    }
    return Evidence(
        volumes_ml=ml,
        largest_component_ml={kind: 0.9 * value for kind, value in ml.items()},
        exposed_face_ml=face,
        models=tuple(model.identity for model in installed_examiner(settings).models),
        claims=HeaderClaims(deidentification_codes=("113102/DCM",), body_part_examined="HEAD"),
        field_of_view_mm=(180.0, 240.0, 240.0),
        spacing_mm=(1.0, 0.5, 0.5),
        matrix=(180, 480, 480),
        modality="MR",
        face_surface=FaceSurface(164.0, 92.0 if removed else 0.0, 4.0 if face else 0.0, None),
        face_probability=0.12,
    )


def make_site(folder: Path, *, desk: str = "", web: str = "", database_url: str = "") -> Site:
    """A data folder, a database, a key, and a configuration of projects that ask people.

    `desk` and `web` are more lines of those sections.
    """
    (port,) = free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    keys.generate(folder / "gate-key")
    file = folder / "config.toml"
    file.write_text(
        f"""
[node]
data_folder = "{folder / "data"}"
[database]
url = "{database_url}"
[scp]
minimum_free_bytes = 0
[web]
enabled = true
port = {port}
desk = true
logins_per_minute = 1000
{web}
[desk]
live_seconds = 1.0
ohif_url = "https://pacs.example/ohif/viewer?StudyInstanceUIDs={{study}}"
{desk}
[gate]
key_file = "{folder / "gate-key"}"
series = []
[projects.cohort-7]
series = []
pass_verdicts = ["DEFACED", "NO_FACE_IN_VIEW", "UNDETERMINED"]
review_verdicts = ["UNDETERMINED"]
[projects.two-people]
series = []
pass_verdicts = ["DEFACED", "NO_FACE_IN_VIEW", "UNDETERMINED"]
review_verdicts = ["UNDETERMINED"]
persons_needed = 2
"""
    )
    settings = config.load(file)
    database = Database(settings.database_url)
    database.migrate()
    settings.results_folder.mkdir(parents=True, exist_ok=True)
    return Site(folder, file, f"http://127.0.0.1:{port}", settings, database)


@contextmanager
def running_desk(site: Site) -> Iterator[Popen[bytes]]:
    """`dicomnode web`, as a site runs it."""
    log = site.folder / "web.log"
    with log.open("ab") as output:
        command = [sys.executable, "-m", "dicomnode.cli", "web", "--config", str(site.config)]
        process = Popen(command, stdout=output, stderr=STDOUT)
    try:
        wait_until("the desk answers", lambda: _answers(site), 60, log)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def pages_of(site: Site) -> FastAPI:
    """The desk in this process."""
    pages = make_pages(site.settings, Identity(site.settings.web, site.database))
    mount_desk(pages, Desk(site.settings, site.database, ExaminerInUse(site.settings), lambda: ()))
    return pages


def visitor(pages: FastAPI, account: str = "") -> TestClient:
    """A browser that is none; logged in where an account is named."""
    client = TestClient(pages, base_url=ORIGIN, headers={"Origin": ORIGIN}, follow_redirects=False)
    if account:
        answer = client.post("/login", data={"name": account, "password": PASSWORD, "next": "/"})
        assert answer.headers["location"] == "/", answer.text
    return client


def token_of(client: TestClient) -> str:
    """What the forms of this login carry."""
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', client.get("/desk/queue").text)
    assert found is not None
    return found[1]


def _answers(site: Site) -> bool:
    try:
        return httpx.get(f"{site.address}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
