"""The skin as four pictures, rendered from the volume itself by VTK.

No mask of a network has a part in it, so the pictures are an independent look. They can show a
face: keep them where only the node can read.

VTK draws through EGL, in software where there is no GPU, and takes its process down where no EGL
is installed. So it draws in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from enum import StrEnum
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.errors import RenderingError
from dicomnode.inference.skin import skin_level

Volume = npt.NDArray[np.float32]
Triple = tuple[float, float, float]

GRID_MM = 1.5
SMOOTH_MM = 1.2
SIZE_PIXELS = 512
SKIN_COLOUR = (0.87, 0.72, 0.62)
BACKGROUND = (0.25, 0.27, 0.30)
ZOOM = 1.35


class View(StrEnum):
    """`LEFT` looks at the patient's left side."""

    FRONT = "front"
    LEFT = "left"
    RIGHT = "right"
    THREE_QUARTER = "three_quarter"


# From the head to the camera, toward (patient left, patient back).
_CAMERAS = {
    View.FRONT: (0.0, -1.0),
    View.LEFT: (1.0, 0.0),
    View.RIGHT: (-1.0, 0.0),
    View.THREE_QUARTER: (0.7, -0.7),
}


def render(array: Volume, spacing_mm: Triple, modality: str) -> Mapping[View, bytes]:
    """A PNG of every view. `array`: (z, y, x), toward head, back and left.

    Raises `RenderingError` where VTK or EGL is missing.
    """
    thin, grid_mm = _thinned(array, spacing_mm)
    level = skin_level(thin, modality)
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_drawn, thin, grid_mm, level).result()
        except ImportError:
            raise RenderingError("VTK is not installed: pip install 'dicomnode[surface]'") from None
        except BrokenProcessPool:
            raise RenderingError(
                "VTK can't draw here; on Debian: apt-get install libegl1"
            ) from None


def _thinned(array: Volume, spacing_mm: Triple) -> tuple[Volume, Triple]:
    """On about `GRID_MM`, smoothed, with air around so that the surface is closed."""
    step = tuple(max(1, round(GRID_MM / mm)) for mm in spacing_mm)
    coarse = ndimage.uniform_filter(array, step)[tuple(slice(None, None, n) for n in step)]
    z_mm, y_mm, x_mm = (mm * n for mm, n in zip(spacing_mm, step, strict=True))
    smooth = ndimage.gaussian_filter(coarse, [SMOOTH_MM / mm for mm in (z_mm, y_mm, x_mm)])
    closed = np.pad(smooth, 1, constant_values=smooth.min())
    return closed.astype(np.float32), (z_mm, y_mm, x_mm)


def _drawn(array: Volume, spacing_mm: Triple, level: float) -> dict[View, bytes]:
    from vtkmodules.vtkRenderingCore import vtkRenderer
    from vtkmodules.vtkRenderingOpenGL2 import vtkEGLRenderWindow

    window, renderer = vtkEGLRenderWindow(), vtkRenderer()
    window.SetOffScreenRendering(True)
    window.SetSize(SIZE_PIXELS, SIZE_PIXELS)
    window.AddRenderer(renderer)
    renderer.SetBackground(*BACKGROUND)
    renderer.AddActor(_skin(array, spacing_mm, level))
    middle = [n * mm / 2 for n, mm in zip(array.shape, spacing_mm, strict=True)][::-1]
    return {view: _picture(window, renderer, middle, toward) for view, toward in _CAMERAS.items()}


def _skin(array: Volume, spacing_mm: Triple, level: float) -> Any:
    """The largest piece of the surface between air and tissue."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkPolyDataConnectivityFilter
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    image = vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.SetSpacing(*spacing_mm[::-1])
    values = numpy_to_vtk(array.ravel())  # type: ignore[no-untyped-call]
    image.GetPointData().SetScalars(values)
    surface, largest = vtkFlyingEdges3D(), vtkPolyDataConnectivityFilter()
    surface.SetInputData(image)
    surface.SetValue(0, level)
    largest.SetInputConnection(surface.GetOutputPort())
    largest.SetExtractionModeToLargestRegion()
    mapper, actor = vtkPolyDataMapper(), vtkActor()
    mapper.SetInputConnection(largest.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*SKIN_COLOUR)
    actor.GetProperty().SetAmbient(0.15)
    actor.GetProperty().SetDiffuse(0.85)
    return actor


def _picture(window: Any, renderer: Any, middle: list[float], toward: tuple[float, float]) -> bytes:
    from vtkmodules.vtkIOImage import vtkPNGWriter
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    camera = renderer.GetActiveCamera()
    camera.SetFocalPoint(*middle)
    camera.SetPosition(middle[0] + toward[0], middle[1] + toward[1], middle[2])
    camera.SetViewUp(0.0, 0.0, 1.0)
    renderer.ResetCamera()
    camera.Zoom(ZOOM)
    window.Render()
    shot, writer = vtkWindowToImageFilter(), vtkPNGWriter()
    shot.SetInput(window)
    shot.ReadFrontBufferOff()
    writer.SetInputConnection(shot.GetOutputPort())
    writer.WriteToMemoryOn()
    writer.Write()
    return bytes(memoryview(writer.GetResult()))
