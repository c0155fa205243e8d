"""Telling people that something waits for them or failed, without a patient in it."""
