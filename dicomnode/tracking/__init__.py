"""The tracking database and the spool: the only SQL and the only file store."""
