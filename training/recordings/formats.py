"""Which format a recording has, by its name; nothing else is read."""

from pathlib import Path

from models.errors import BadInput
from models.files import existing_file
from training.recordings import arrays, sigmf_files
from training.recordings.raw import TYPES, RawFile, sample_type, whole_samples
from training.recordings.recording import IQSource, Recording, analytic

READERS = {
    ".npy": arrays.open_npy,
    ".npz": arrays.open_npz,
    ".wav": arrays.open_wav,
    ".h5": arrays.open_hdf5,
    ".hdf5": arrays.open_hdf5,
    ".pkl": arrays.open_radioml_2016,
    ".dat": arrays.open_radioml_2016,
}
SIGMF = (sigmf_files.META, sigmf_files.DATA, sigmf_files.ARCHIVE)
RAW = {".cfile": "cf32", ".cf32": "cf32", ".cs16": "ci16", ".cs8": "ci8", ".cu8": "cu8"}
"""Suffixes that say the type by themselves (GNU Radio, rtl_433); others need `--type`."""


def open_recording(
    path: str | Path, type_name: str | None = None, rate: float | None = None
) -> Recording:
    """Open a recording of any format.

    Args:
        path: the file.
        type_name: of raw samples (`raw.TYPES`), which are then read whatever the name says.
        rate: samples a second, where the file does not say.

    Raises:
        BadInput: the file is missing, damaged, or of no format that is read.
    """
    path = Path(path)
    if rate is not None and not 0 < rate < 1e12:
        raise BadInput(f"a rate of {rate:g} samples/s cannot be; give --rate in samples a second")
    suffix = path.suffix.lower()
    if suffix in SIGMF and type_name is None:
        return sigmf_files.open_sigmf(path, rate)
    existing_file(path, "recording")
    if type_name is None and suffix in READERS:
        return READERS[suffix](path, rate)
    type_name = type_name or RAW.get(suffix)
    if type_name is None:
        raise BadInput(
            f"{path} is of no format that is read: SigMF ({', '.join(SIGMF)}), "
            f"{', '.join(READERS)}, or raw samples with --type {'|'.join(TYPES)}"
        )
    type_ = sample_type(type_name)
    samples = whole_samples(path, path.stat().st_size, type_, "recording")
    source: IQSource = RawFile(path, type_, samples, rate or 1.0)
    if type_.real:
        source = analytic(source)
    return Recording(source, type_.name, None, rate is not None, stored=2 if type_.real else 1)
