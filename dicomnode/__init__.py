"""A DICOM node that says which studies are truly defaced."""

__version__ = "0.1.0"
