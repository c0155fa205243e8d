"""Training volumes drawn on the fly with torch, on the CPU or the GPU: see `generate`."""
