"""How a destination takes objects is remembered for a while."""

from __future__ import annotations

from dicomnode.tracking import circuits, dialects
from dicomnode.tracking.database import Database
from tests.databases import *  # noqa: F403
from tests.unit.tracking.rows import at

DAY_SECONDS = 86400.0


def test_what_was_taken_is_known_until_the_configured_way_is_to_be_tried_again(
    database: Database,
) -> None:
    with database.begin() as c:
        assert dialects.recall(c, "pacs", at(0)) == ""
        dialects.remember(c, "pacs", "implicit", at(0))
        assert dialects.recall(c, "pacs", at(6 * DAY_SECONDS)) == "implicit"
        assert dialects.recall(c, "other", at(0)) == ""
        assert dialects.recall(c, "pacs", at(7 * DAY_SECONDS)) == ""
        dialects.remember(c, "pacs", "", at(1))
        assert dialects.recall(c, "pacs", at(1)) == ""
        assert circuits.open_ones(c) == {}
