"""The commands, one module per subject; the only code that prints."""
