"""Alembic migrations of the tracking database; `Database.migrate` runs them."""
