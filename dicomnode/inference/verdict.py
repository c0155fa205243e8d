"""Evidence becomes a verdict: small rules, each with its opinion; the worst opinion counts.

Every rule looks at one thing and says what it would allow at best, or nothing. Taking the worst
makes the verdict total, independent of the rules' order, and monotone: more intact face, or one
more doubt, never makes it laxer. `tests/unit/inference/test_verdict.py` holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dicomnode.config import VerdictSettings
from dicomnode.domain import Evidence, SegmentKind, Verdict, VerdictKind

RULE_VERSION = 4
HEAD_BODY_PARTS = ("HEAD", "BRAIN", "FACE", "SKULL", "ORBIT", "SINUS", "MAXILLA", "MANDIBLE", "EAR")
RECOGNIZABLE_FEATURES_CLEANED = "113102/DCM"


@dataclass(frozen=True)
class Opinion:
    """The best verdict that one rule allows, and the sentence that says why."""

    rule_id: str
    kind: VerdictKind
    reason: str


Rule = Callable[[Evidence, VerdictSettings], Opinion | None]


def judge(evidence: Evidence, settings: VerdictSettings) -> Verdict:
    """The worst of all opinions, with every opinion of that severity or worse as a reason."""
    opinions = [opinion for rule in RULES if (opinion := rule(evidence, settings)) is not None]
    worst = max(opinions, key=lambda opinion: (opinion.kind.severity, opinion.rule_id))
    decisive = sorted((o for o in opinions if o.kind is worst.kind), key=lambda o: o.rule_id)
    others = sorted((o for o in opinions if o.kind is not worst.kind), key=lambda o: o.rule_id)
    return Verdict(
        kind=worst.kind,
        rule_id=worst.rule_id,
        rule_version=RULE_VERSION,
        reasons=tuple(opinion.reason for opinion in (*decisive, *others)),
        numbers={
            **{f"{kind.value}_ml": ml for kind, ml in evidence.volumes_ml.items()},
            "exposed_face_ml": evidence.exposed_face_ml,
        },
    )


def every_network_answered(evidence: Evidence, _: VerdictSettings) -> Opinion | None:
    missing = [kind for kind in SegmentKind if kind not in evidence.volumes_ml]
    if not missing:
        return None
    why = (evidence.unanswered.get(kind, f"no {kind} network is installed") for kind in missing)
    reason = f"{'; '.join(why)}: there is no proof"
    return Opinion("every-network-answered", VerdictKind.UNDETERMINED, reason)


def anatomy_is_in_view(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    found = evidence.volumes_ml.get(SegmentKind.FOREGROUND, 0.0)
    if found >= settings.minimum_foreground_ml:
        return None
    reason = (
        f"{found:.0f} ml of anatomy found, under {settings.minimum_foreground_ml:.0f} ml: "
        "nothing that could be judged"
    )
    return Opinion("anatomy-is-in-view", VerdictKind.UNDETERMINED, reason)


def face_is_gone(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    """Intact face that the outside can see caps the verdict, whatever else was found."""
    found = evidence.exposed_face_ml
    if found >= settings.face_visible_ml:
        reason = f"{found:.0f} ml of exposed face, {settings.face_visible_ml:.0f} ml or more"
        return Opinion("face-is-gone", VerdictKind.FACE_VISIBLE, reason)
    allowed = _allowed_remnant_ml(evidence, settings)
    if found >= allowed:
        reason = (
            f"{found:.0f} ml of exposed face, between {allowed:.0f} ml "
            f"and {settings.face_visible_ml:.0f} ml: too much for none, too little for a face"
        )
        return Opinion("face-is-gone", VerdictKind.UNDETERMINED, reason)
    return None


def _allowed_remnant_ml(evidence: Evidence, settings: VerdictSettings) -> float:
    """The rim of a removed face may stay: a share of what was removed, never a visible face."""
    removed = evidence.largest_component_ml.get(SegmentKind.ANONYMISED_AREA, 0.0)
    rim = settings.face_absent_share * removed
    return min(max(settings.face_absent_ml, rim), settings.face_visible_ml)


def no_face_is_cut_off(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    """Face tissue without its surface: the field of view cuts it, or it was not removed."""
    found = evidence.volumes_ml.get(SegmentKind.FACE, 0.0)
    removed = evidence.largest_component_ml.get(SegmentKind.ANONYMISED_AREA, 0.0)
    is_seen = evidence.exposed_face_ml >= settings.face_visible_ml
    if is_seen or found < settings.face_visible_ml or removed >= settings.anonymised_present_ml:
        return None
    reason = f"{found:.0f} ml of face tissue, and nothing was removed in front of it"
    return Opinion("no-face-is-cut-off", VerdictKind.UNDETERMINED, reason)


def area_was_anonymised(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    """The largest connected piece counts, so that scattered specks never prove a defacing."""
    found = evidence.largest_component_ml.get(SegmentKind.ANONYMISED_AREA, 0.0)
    if found >= settings.anonymised_present_ml:
        reason = f"{found:.0f} ml of anonymised area in one piece"
        return Opinion("area-was-anonymised", VerdictKind.DEFACED, reason)
    if found >= settings.anonymised_absent_ml:
        reason = (
            f"{found:.0f} ml of anonymised area, between {settings.anonymised_absent_ml:.0f} ml "
            f"and {settings.anonymised_present_ml:.0f} ml: too little to prove a defacing"
        )
        return Opinion("area-was-anonymised", VerdictKind.UNDETERMINED, reason)
    reason = f"{found:.0f} ml of anonymised area: nothing was removed here"
    return Opinion("area-was-anonymised", VerdictKind.NO_FACE_IN_VIEW, reason)


def a_head_has_a_face(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    """A series that says it shows a head needs a positive proof: a missed face is no proof."""
    part = (evidence.claims.body_part_examined or "").upper()
    removed = evidence.largest_component_ml.get(SegmentKind.ANONYMISED_AREA, 0.0)
    claims_head = any(word in part for word in HEAD_BODY_PARTS)
    is_seen = evidence.exposed_face_ml >= settings.face_visible_ml
    if is_seen or not claims_head or removed >= settings.anonymised_present_ml:
        return None
    reason = f"(0018,0015) says {part[:16]}, but neither a face nor an anonymised area is proven"
    return Opinion("a-head-has-a-face", VerdictKind.UNDETERMINED, reason)


def headers_agree(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    """Header claims only ever make the verdict stricter (PS3.3 C.12.1, C.7.6.1.1.1)."""
    claims = evidence.claims
    if claims.recognizable_visual_features == "YES":
        reason = "(0028,0302) says that a face can be recognised in these images"
        return Opinion("headers-agree", VerdictKind.UNDETERMINED, reason)
    removed = evidence.largest_component_ml.get(SegmentKind.ANONYMISED_AREA, 0.0)
    cleaned = RECOGNIZABLE_FEATURES_CLEANED in claims.deidentification_codes
    if cleaned and removed < settings.anonymised_present_ml:
        reason = "(0012,0064) claims cleaned visual features (113102), but none are seen removed"
        return Opinion("headers-agree", VerdictKind.UNDETERMINED, reason)
    return None


def gaps_hide_no_face(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    """Where slices are missing nobody has looked; a face may be what is missing."""
    if evidence.widest_gap_mm > settings.widest_gap_mm:
        reason = (
            f"a gap of {evidence.widest_gap_mm:.0f} mm, more than {settings.widest_gap_mm:.0f} mm: "
            "a face could lie in it"
        )
        return Opinion("gaps-hide-no-face", VerdictKind.UNDETERMINED, reason)
    if evidence.face_in_gaps_ml >= settings.face_absent_ml:
        reason = (
            f"{evidence.face_in_gaps_ml:.0f} ml of face or anonymised area lie where slices are "
            "missing"
        )
        return Opinion("gaps-hide-no-face", VerdictKind.UNDETERMINED, reason)
    return None


def no_detector_finds_a_face(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    """A found face contradicts networks that see none; that none was found proves nothing."""
    found = evidence.face_probability
    is_seen = evidence.exposed_face_ml >= settings.face_visible_ml
    if found is None or is_seen or found < settings.face_found_probability:
        return None
    reason = (
        f"the face detector finds a face in pictures of the skin (probability {found:.2f}, "
        f"{settings.face_found_probability:.2f} or more): the sources disagree"
    )
    return Opinion("no-detector-finds-a-face", VerdictKind.UNDETERMINED, reason)


def the_surface_agrees(evidence: Evidence, settings: VerdictSettings) -> Opinion | None:
    """Much intact skin on the face contradicts millilitres that prove a defacing.

    A few square centimetres are the rim of two masks, whatever their share.
    """
    surface = evidence.face_surface
    is_seen = evidence.exposed_face_ml >= settings.face_visible_ml
    if surface is None or surface.intact_percent is None or is_seen:
        return None
    share, intact_cm2 = surface.intact_percent, surface.area_cm2 * surface.intact_percent / 100.0
    if share < settings.surface_intact_percent or intact_cm2 < settings.surface_intact_cm2:
        return None
    reason = (
        f"{share:.0f} % of the face's surface ({intact_cm2:.0f} cm2) is intact skin, "
        f"{settings.surface_intact_percent:.0f} % or more: the sources disagree"
    )
    return Opinion("the-surface-agrees", VerdictKind.UNDETERMINED, reason)


RULES: tuple[Rule, ...] = (
    every_network_answered,
    anatomy_is_in_view,
    face_is_gone,
    no_face_is_cut_off,
    area_was_anonymised,
    a_head_has_a_face,
    headers_agree,
    gaps_hide_no_face,
    no_detector_finds_a_face,
    the_surface_agrees,
)
