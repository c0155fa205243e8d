"""The HTTP door of the gate: the decisions of `dicomnode.gate`, for programs with a token."""
