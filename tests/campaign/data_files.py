"""Malformed data files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.campaign.checkpoints import bytes_of, folder_instead


def edited(change: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "a") as file:
            change(file)

    return damage


def instead(name: str, make: Callable[[np.ndarray], Any]) -> Callable[[Path], None]:
    """Put other values in the place of a data set."""

    def change(file: h5py.File) -> None:
        values = make(file[name][:])
        del file[name]
        file[name] = values

    return edited(change)


def value(name: str, where: tuple[int, ...], to: float) -> Callable[[Path], None]:
    def change(values: np.ndarray) -> np.ndarray:
        changed = values.astype(np.float32)
        changed[where] = to
        return changed

    return instead(name, change)


def without(name: str) -> Callable[[Path], None]:
    return edited(lambda file: file.__delitem__(name))


def group(name: str) -> Callable[[Path], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_group(name)

    return edited(change)


def elsewhere(name: str) -> Callable[[Path], None]:
    """Have a data set lie in another file, which is not there."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = h5py.ExternalLink("gone.h5", f"/{name}")

    return edited(change)


MALFORMED: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(),
    "a folder": folder_instead,
    "empty": bytes_of(lambda data: b""),
    "text": bytes_of(lambda data: b"# no data\n"),
    "cut in half": bytes_of(lambda data: data[: len(data) // 2]),
    "cut in its head": bytes_of(lambda data: data[:100]),
    "a broken superblock": bytes_of(lambda data: data[:8] + bytes(40) + data[48:]),
    **{f"no {name}": without(name) for name in "XYZ"},
    **{f"{name} a group": group(name) for name in "XYZ"},
    "X elsewhere": elsewhere("X"),
    "no frames": edited(
        lambda file: (
            [file.__delitem__(name) for name in "XYZ"]
            and [
                file.create_dataset("X", (0, 1024, 2), "f4"),
                file.create_dataset("Y", (0, 24), "i8"),
                file.create_dataset("Z", (0, 1), "i8"),
            ]
        )
    ),
    "X flat": instead("X", lambda x: x.reshape(len(x), -1)),
    "X turned": instead("X", lambda x: x.transpose(0, 2, 1)),
    "X short": instead("X", lambda x: x[:, :128]),
    "X fewer": instead("X", lambda x: x[:-1]),
    "X complex": instead("X", lambda x: x.astype(np.complex64)),
    "X of text": instead("X", lambda x: "frames"),
    "X of bytes": instead("X", lambda x: x.astype("S4")),
    "X a number": instead("X", lambda x: 1.0),
    "X of records": instead("X", lambda x: np.zeros(x.shape, [("a", "f4"), ("b", "i2")])),
    "X NaN": value("X", (slice(4, 6), 5, 0), np.nan),
    "X infinite": value("X", (7, 0, 1), np.inf),
    "Y of indices": instead("Y", lambda y: y.argmax(axis=1)),
    "Y of 11 classes": instead("Y", lambda y: y[:, :11]),
    "Y empty row": value("Y", (0, slice(None)), 0),
    "Y two ones": value("Y", (1, slice(0, 2)), 1),
    "Y of twos": instead("Y", lambda y: 2 * y),
    "Y NaN": value("Y", (2, 3), np.nan),
    "Y negative": value("Y", (2, 3), -1),
    "Y half": instead("Y", lambda y: y / 2),
    "Y of text": instead("Y", lambda y: y.astype("S1")),
    "Z too many": instead("Z", lambda z: np.vstack([z, z])),
    "Z two columns": instead("Z", lambda z: np.hstack([z, z])),
    "Z of text": instead("Z", lambda z: z.astype("S3")),
    "Z odd": value("Z", (0, 0), 7),
    "Z beyond": value("Z", (0, 0), 32),
    "Z 2.7": value("Z", (0, 0), 2.7),
    "Z NaN": value("Z", (0, 0), np.nan),
}
