"""The pixel data of our own SEGs: what has their UIDs but not their content isn't ours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Of SEGs made before it is unknown: their studies are held until they are reexamined."""
    op.add_column(
        "segmentations", sa.Column("pixel_sha256", sa.String(64), server_default="", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("segmentations", "pixel_sha256")
