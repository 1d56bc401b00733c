"""SigMF recordings: a pair of .sigmf-meta and .sigmf-data, or both in a .sigmf archive (tar).

The metadata is checked by the schema of the `sigmf` package; the samples are read by `raw.py`, from
where they lie (in an archive, too: a tar file holds them as they are). Specification: SigMF 1.2.
"""

import hashlib
import json
import re
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from models.errors import BadInput
from models.files import existing_file
from training.recordings.raw import RawFile, sample_type, whole_samples
from training.recordings.recording import IQSource, Recording, analytic

META, DATA, ARCHIVE = ".sigmf-meta", ".sigmf-data", ".sigmf"

_LARGEST_METADATA = 64 << 20


def open_sigmf(path: Path, rate: float | None) -> Recording:
    """Open a recording by its metadata, its data or its archive.

    Args:
        path: any of the three.
        rate: samples a second where the metadata has none.

    Raises:
        BadInput: a part is missing, damaged, contradicts another, or is of a kind not read here.
    """
    if path.suffix == ARCHIVE:
        metadata, data, offset, size = _from_archive(existing_file(path, "archive"))
    else:
        meta = existing_file(path.with_suffix(META), "SigMF metadata")
        metadata = read_metadata(meta.read_bytes(), meta)
        name = metadata["global"].get("core:dataset", path.with_suffix(DATA).name)
        if PurePosixPath(name).name != name or name in ("", ".", ".."):
            raise BadInput(f"{meta}: core:dataset {name!r} is no plain file name")
        data = existing_file(meta.with_name(name), "SigMF data")
        offset, size = 0, data.stat().st_size
    return _recording(metadata, path, data, offset, size, rate)


def read_metadata(text: bytes, path: Path) -> dict[str, Any]:
    """Read and check metadata.

    Raises:
        BadInput: it is no JSON, or breaks SigMF's schema.
    """
    import jsonschema
    from sigmf import validate

    if len(text) > _LARGEST_METADATA:
        raise BadInput(f"{path}: {len(text)} bytes of metadata are more than is read")
    try:
        metadata = json.loads(text, parse_constant=_refuse)
        validate.validate(metadata)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON: {error}"[:300]) from error
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path} is no SigMF metadata: {error} is missing") from error
    except jsonschema.ValidationError as error:
        where = "/".join(str(part) for part in error.absolute_path) or "the whole"
        raise BadInput(f"{path} is no SigMF metadata: {where}: {error.message}"[:300]) from error
    return metadata


def _refuse(constant: str) -> None:
    """Called for NaN and Infinity, which Python's reader would take.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{constant} is no number")


def _from_archive(path: Path) -> tuple[dict[str, Any], Path, int, int]:
    try:
        with tarfile.open(path, "r:") as archive:
            members = [member for member in archive if member.isfile()]
            found = {
                suffix: [member for member in members if member.name.endswith(suffix)]
                for suffix in (META, DATA)
            }
            if any(len(of_kind) != 1 for of_kind in found.values()):
                raise BadInput(
                    f"archive {path} holds {len(found[META])} recordings with "
                    f"{len(found[DATA])} data files; unpack it and give one of them"
                )
            meta, data = found[META][0], found[DATA][0]
            file = archive.extractfile(meta)
            text = file.read(_LARGEST_METADATA + 1) if file else b""
    except tarfile.TarError as error:
        raise BadInput(
            f"archive {path} is no uncompressed tar file; unpack it first: {error}"
        ) from error
    if data.offset_data + data.size > path.stat().st_size:
        raise BadInput(f"archive {path} is truncated; copy it again")
    return read_metadata(text, path), path, data.offset_data, data.size


def _recording(
    metadata: dict[str, Any], path: Path, data: Path, offset: int, size: int, rate: float | None
) -> Recording:
    about = metadata["global"]
    type_ = sample_type(about["core:datatype"])
    channels = about.get("core:num_channels", 1)
    if channels != 1:
        raise BadInput(f"{path} has {channels} channels; write the one to classify by itself")
    own = about.get("core:sample_rate")
    if own is not None and rate is not None and own != rate:
        raise BadInput(f"{path} has {own:g} samples/s, not {rate:g}; leave --rate out")
    rate = own or rate
    if rate is not None and not 0 < rate < 1e12:
        raise BadInput(f"{path}: a rate of {rate:g} samples/s cannot be")
    captures = metadata["captures"]
    # To the schema 8.0 is an integer, too.
    headers = [int(capture.get("core:header_bytes", 0)) for capture in captures]
    if any(headers[1:]):
        raise BadInput(f"{path} has bytes that are no samples between its captures")
    skip = headers[0] if headers else 0
    size -= skip + int(about.get("core:trailing_bytes", 0))
    samples = whole_samples(data, size, type_, "SigMF data")
    for capture in captures:
        if capture["core:sample_start"] >= samples:
            raise BadInput(
                f"{path}: a capture begins at sample {capture['core:sample_start']}, the data has "
                f"{samples}; it is truncated or belongs to something else"
            )
    _check_hash(about.get("core:sha512"), data, offset, skip + size, path)
    source: IQSource = RawFile(data, type_, samples, rate or 1.0, offset + skip)
    centres = {capture.get("core:frequency") for capture in captures}
    centre = centres.pop() if len(centres) == 1 else None
    if type_.real:
        source = analytic(source)
        centre = None if centre is None else centre + source.rate / 2
    return Recording(
        source, type_.name, centre, rate is not None, None, metadata, 2 if type_.real else 1
    )


def _check_hash(expected: str | None, data: Path, offset: int, size: int, path: Path) -> None:
    """Compare the data with the metadata's digest, if it has one."""
    if expected is None:
        return
    if not re.fullmatch("[0-9a-fA-F]{128}", expected):
        raise BadInput(f"{path}: core:sha512 is no SHA-512")
    digest = hashlib.sha512()
    with data.open("rb") as file:
        file.seek(offset)
        left = size
        while left > 0:
            piece = file.read(min(left, 1 << 20))
            if not piece:
                break
            digest.update(piece)
            left -= len(piece)
    if digest.hexdigest() != expected.lower():
        raise BadInput(f"{path}: the data is not what core:sha512 says; copy it again")
