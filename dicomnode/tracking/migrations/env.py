"""Alembic's entry: runs on the connection and in the transaction of `Database.migrate`.

The job engine's tables live in the same database and are none of ours.
"""

from __future__ import annotations

from alembic import context

from dicomnode.tracking.gate_schema import METADATA


def _is_ours(_object: object, name: str | None, kind: str, *_rest: object) -> bool:
    return kind != "table" or name in METADATA.tables


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    include_object=_is_ours,
    render_as_batch=True,
)
context.run_migrations()
