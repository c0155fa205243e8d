"""Removing faces: what is taken away, what is put in its place, and the proof that it is gone."""
