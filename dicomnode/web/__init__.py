"""The HTTP role: STOW-RS in, metrics out."""
