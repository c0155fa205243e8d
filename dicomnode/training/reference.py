"""Reference masks of real heads: foreground by threshold, the template's place by registration.

Foreground: voxels clearly above the background noise, closed by 6 mm, largest piece, holes filled
in 3D and slice by slice along each axis (so that airways that open to the outside count as inside).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy import ndimage

from dicomnode.errors import DicomnodeError
from dicomnode.inference.skin import CT_SKIN_HU, threshold_of
from dicomnode.training.drawn import Affine, Mask, Volume
from dicomnode.training.read import read_nifti_scan
from dicomnode.training.template import TEMPLATE_NAME
from dicomnode.training.tissue import Modality

CLOSE_MM = 6.0
# What any head tells of the template (mutual information: heads 0.5 and more, trunks and noise
# 0.12 and less) and how many times larger than a head it is, along any direction.
LEAST_INFORMATION = 0.2
SCALES = (0.6, 1.8)


def _ball(radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    counts = [max(1, round(radius_mm / s)) for s in spacing_mm]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in counts)]
    return cast(Mask, sum((a / (n + 0.5)) ** 2 for a, n in zip(axes, counts, strict=True)) <= 1.0)


def _closed(mask: Mask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    """Closing by distance, with room around so that the edge of the array doesn't eat in."""
    margin = [int(np.ceil(radius_mm / s)) + 1 for s in spacing_mm]
    padded = np.pad(mask, [(m, m) for m in margin], mode="edge")
    near = ndimage.distance_transform_edt(~padded, sampling=spacing_mm) <= radius_mm
    shut = ndimage.distance_transform_edt(near, sampling=spacing_mm) > radius_mm
    inner = tuple(slice(m, -m) for m in margin)
    return cast(Mask, shut[inner] | mask)


def _filled(mask: Mask) -> Mask:
    out = ndimage.binary_fill_holes(mask)
    for axis in range(3):
        for k in range(mask.shape[axis]):
            at = tuple(k if a == axis else slice(None) for a in range(3))
            out[at] = ndimage.binary_fill_holes(out[at])
    return cast(Mask, out)


def _largest(mask: Mask) -> Mask:
    pieces, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return cast(Mask, pieces == sizes.argmax())


def foreground_of(
    array: Volume, spacing_mm: tuple[float, float, float], modality: Modality
) -> Mask:
    """Body against air, inner air included. `array`: HPL axes; a CT table is opened away."""
    sigma = [min(1.0, 1.0 / s) for s in spacing_mm]
    smooth = ndimage.gaussian_filter(array, sigma)
    if modality == "CT":
        seed = ndimage.binary_opening(smooth > CT_SKIN_HU, _ball(5.0, spacing_mm))
    else:
        seed = ndimage.binary_opening(smooth > threshold_of(smooth))
    return _largest(_filled(_closed(_largest(seed), CLOSE_MM, spacing_mm)))


@dataclass(frozen=True)
class Template:
    """A head template; HPL axes, affine to LPS mm."""

    array: Volume
    affine: Affine


def read_template(folder: Path) -> Template:
    return Template(*read_nifti_scan(folder / TEMPLATE_NAME))


def _itk() -> Any:
    """Imported when needed: it takes a while, and it is not typed."""
    import SimpleITK

    return SimpleITK


def _itk_image(array: Volume, affine: Affine) -> Any:
    """ITK wants the first index fastest: array axes reversed, columns of the affine too."""
    sitk = _itk()
    image = sitk.GetImageFromArray(array)
    columns = affine[:3, :3][:, ::-1]
    spacing = np.linalg.norm(columns, axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection([float(v) for v in (columns / spacing).ravel()])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    return image


def register(template: Template, array: Volume, affine: Affine, seed: int = 1) -> Affine:
    """Affine from LPS mm of `array` to LPS mm of the template (Mattes mutual information).

    Raises `DicomnodeError` where nothing like a head is found.
    """
    sitk = _itk()
    fixed, moving = _itk_image(array, affine), _itk_image(template.array, template.affine)
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(40)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.15, seed)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([4, 2])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetNumberOfThreads(1)  # the order of a sum would change what is found
    method.SetInitialTransform(start, inPlace=False)
    try:
        found = sitk.Transform(method.Execute(fixed, moving))
    except RuntimeError:  # ITK's own, with a page of its state
        raise DicomnodeError("the head template can't be laid onto it") from None
    corners = np.vstack([np.zeros(3), np.eye(3) * 100.0])
    moved = np.array([found.TransformPoint([float(v) for v in c]) for c in corners])
    out = np.eye(4)
    out[:3, :3] = ((moved[1:] - moved[0]) / 100.0).T
    out[:3, 3] = moved[0]
    scales = np.linalg.svd(out[:3, :3], compute_uv=False)
    if -method.GetMetricValue() < LEAST_INFORMATION or not (
        SCALES[0] < scales.min() and scales.max() < SCALES[1]
    ):
        raise DicomnodeError("no head is found in it that the template fits on")
    return out
