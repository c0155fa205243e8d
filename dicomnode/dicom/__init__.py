"""What PS3.3 says, as values: headers, geometry, volumes and segmentations.

No network, no SQL, no torch. The way of a series through this package: `series.sort_series`
(headers, stacks, refusals) -> `volume.read_volume` (pixels) -> `resample.to_canonical` (the
network's grid) -> `resample.mask_to_source` -> `segmentation.write_segmentation`.
"""
