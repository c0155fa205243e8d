"""Fetching studies from a source: C-FIND with C-MOVE or C-GET, or DICOMweb."""
