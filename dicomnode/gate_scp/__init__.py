"""The gate's DICOM door: an Application Entity that forwards what may leave, and keeps the rest."""
