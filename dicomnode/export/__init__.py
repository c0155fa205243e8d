"""Released studies leave: copied into a folder, or sent to a research archive, and on record."""
