"""The quick encoder writes what pydicom writes."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.valuerep import DSfloat

from dicomnode.dicom.encoding import encoded_sequence

TAG = 0x52009230


def _item() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121322", "DCM", "Größe"
    frame = Dataset()
    frame.DimensionIndexValues = [1, 2]
    frame.StackID, frame.InStackPositionNumber = "1", 7
    ds = Dataset()
    ds.FrameContentSequence = [frame]
    ds.ImagePositionPatient = [-1.25, DSfloat("+3.50"), 1e-7]
    ds.PurposeOfReferenceCodeSequence = [code, code]
    ds.ReferencedSOPInstanceUID = "1.2.3"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.PatientName, ds.PatientComments, ds.StudyDate = "A^B", "", None
    ds.ReferencedFrameNumber = [3, 14]
    ds.DiffusionBValue, ds.PixelPaddingRangeLimit = 1000.5, 7
    ds["PixelPaddingRangeLimit"].VR = "SS"
    ds.DerivationImageSequence = []
    return ds


def test_items_are_the_bytes_that_pydicom_writes() -> None:
    items = [_item(), Dataset(), _item()]
    whole = Dataset()
    whole.add_new(TAG, "SQ", items)
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = False, True
    write_data_element(out, whole[TAG])
    assert encoded_sequence(TAG, items) == out.getvalue()
