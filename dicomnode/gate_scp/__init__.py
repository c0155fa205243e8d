"""The gate as an Application Entity."""
