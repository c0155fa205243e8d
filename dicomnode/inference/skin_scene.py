"""The scene that VTK draws, and nothing else: imported by a process that lives for one volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicomnode.domain import View

SIZE_PIXELS = 512
SKIN_COLOUR = (0.87, 0.72, 0.62)
ANONYMISED_COLOUR = (0.90, 0.62, 0.0)
FACE_COLOUR = (0.80, 0.20, 0.07)
BACKGROUND = (0.25, 0.27, 0.30)
VEIL_OPACITY = 0.3
# A mask ends a little before or behind the skin; so far away it still colours it.
REACH_MM = 3.0
ZOOM = 1.35
# From the head to the camera, toward (patient left, patient back).
CAMERAS = {
    View.FRONT: (0.0, -1.0),
    View.LEFT: (1.0, 0.0),
    View.RIGHT: (-1.0, 0.0),
    View.THREE_QUARTER: (0.7, -0.7),
}

Drawn = dict[View, bytes]


@dataclass(frozen=True)
class Scene:
    """Volume and masks on one grid (z, y, x), toward head, back and left; `level`: the skin's."""

    array: npt.NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    level: float
    anonymised: npt.NDArray[np.uint8]
    face: npt.NDArray[np.uint8]


def draw(scene: Scene) -> tuple[Drawn, Drawn]:
    """A PNG of every side, plain and marked; without a mask nothing is marked."""
    from vtkmodules.vtkRenderingCore import vtkRenderer
    from vtkmodules.vtkRenderingOpenGL2 import vtkEGLRenderWindow

    window, renderer = vtkEGLRenderWindow(), vtkRenderer()
    window.SetOffScreenRendering(True)
    window.SetSize(SIZE_PIXELS, SIZE_PIXELS)
    window.SetMultiSamples(0)  # drawn in software they take most of the time
    renderer.UseFXAAOn()
    window.AddRenderer(renderer)
    renderer.SetBackground(*BACKGROUND)
    surface = _skin(scene)
    skin = _actor(surface, SKIN_COLOUR)
    renderer.AddActor(skin)
    sizes = zip(scene.array.shape, scene.spacing_mm, strict=True)
    middle = [count * mm / 2 for count, mm in sizes][::-1]

    def every_side() -> Drawn:
        return {side: _picture(window, renderer, middle, at) for side, at in CAMERAS.items()}

    plain = every_side()
    if not scene.anonymised.any() and not scene.face.any():
        return plain, {}
    _colour(surface, scene)
    skin.GetMapper().ScalarVisibilityOn()
    if scene.anonymised.any():
        renderer.AddActor(_veil(scene))
    return plain, every_side()


def _skin(scene: Scene) -> Any:
    """The largest piece of the surface between air and tissue."""
    from vtkmodules.vtkFiltersCore import vtkPolyDataConnectivityFilter

    largest = vtkPolyDataConnectivityFilter()
    largest.SetInputData(_surface(scene.array, scene.spacing_mm, scene.level))
    largest.SetExtractionModeToLargestRegion()
    largest.Update()
    return largest.GetOutput()


def _veil(scene: Scene) -> Any:
    """What was removed, as it stands before the skin that is left."""
    smooth = ndimage.gaussian_filter(scene.anonymised.astype(np.float32), 0.8)
    actor = _actor(_surface(smooth, scene.spacing_mm, 0.5), ANONYMISED_COLOUR)
    actor.GetProperty().SetOpacity(VEIL_OPACITY)
    return actor


def _surface(array: npt.NDArray[np.float32], spacing_mm: tuple[float, ...], level: float) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    image, surface = vtkImageData(), vtkFlyingEdges3D()
    image.SetDimensions(*array.shape[::-1])
    image.SetSpacing(*spacing_mm[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel()))  # type: ignore[no-untyped-call]
    surface.SetInputData(image)
    surface.SetValue(0, level)
    surface.Update()
    return surface.GetOutput()


def _colour(surface: Any, scene: Scene) -> None:
    """Where both masks lie the anonymised area is what the outside sees."""
    if not surface.GetNumberOfPoints():
        return
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    points = vtk_to_numpy(surface.GetPoints().GetData())  # type: ignore[no-untyped-call]
    places = (points[:, ::-1] / scene.spacing_mm).T
    colours = np.tile(np.asarray(SKIN_COLOUR), (len(points), 1))
    for mask, colour in ((scene.face, FACE_COLOUR), (scene.anonymised, ANONYMISED_COLOUR)):
        share = _share(mask, scene.spacing_mm, places)[:, None]
        colours += share * (np.asarray(colour) - colours)
    bytes_of = np.rint(colours * 255.0).astype(np.uint8)
    surface.GetPointData().SetScalars(numpy_to_vtk(bytes_of, deep=True))  # type: ignore[no-untyped-call]


def _share(
    mask: npt.NDArray[np.uint8], spacing_mm: tuple[float, ...], places: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """How much of the mask's colour each place gets: all of it up to about `REACH_MM` away."""
    if not mask.any():
        return np.zeros(places.shape[1])
    sigma = [REACH_MM / mm for mm in spacing_mm]
    box = ndimage.find_objects(mask)[0]
    margins = [int(3 * n) + 1 for n in sigma]
    start = [max(0, side.start - more) for side, more in zip(box, margins, strict=True)]
    stop = [side.stop + more for side, more in zip(box, margins, strict=True)]
    part = mask[tuple(map(slice, start, stop))].astype(np.float32)
    soft = ndimage.gaussian_filter(part, sigma, truncate=3.0)
    there = ndimage.map_coordinates(soft, places - np.array(start)[:, None], order=1)
    return np.asarray(np.clip((there - 0.10) / 0.08, 0.0, 1.0))


def _actor(surface: Any, colour: tuple[float, float, float]) -> Any:
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    mapper, actor = vtkPolyDataMapper(), vtkActor()
    mapper.SetInputData(surface)
    mapper.ScalarVisibilityOff()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*colour)
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
    shot.ShouldRerenderOff()
    writer.SetInputConnection(shot.GetOutputPort())
    writer.WriteToMemoryOn()
    writer.Write()
    return bytes(memoryview(writer.GetResult()))
