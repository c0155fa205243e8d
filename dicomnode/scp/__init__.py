"""The receiving Application Entity: associations in, durable objects and index events out."""
