"""Writing HDF5 to a disk that may be full."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


class _Sink:
    """A file for h5py that keeps the first error of writing to itself.

    HDF5 cannot close a file that it failed to write, and takes the process down at its end.
    """

    def __init__(self, path: Path):
        self._file = path.open("w+b", buffering=0)
        self.error: OSError | None = None
        # What h5py asks of a file object, besides the methods below.
        self.read, self.readinto = self._file.read, self._file.readinto
        self.seek, self.tell = self._file.seek, self._file.tell

    def write(self, data: memoryview) -> int:
        data = memoryview(data).cast("B")
        size = len(data)
        while data and self.error is None:
            try:
                data = data[self._file.write(data) :]
            except OSError as error:
                self.error = error
        return size

    def truncate(self, size: int) -> int:
        try:
            self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._file.close()


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open `path` for writing an HDF5 file from scratch.

    Raises:
        OSError: something could not be written.
    """
    sink = _Sink(path)
    try:
        # Of HDF5 1.8: its structures have checksums, the older ones have not.
        with h5py.File(sink, "w", libver=("v108", "v108")) as file:
            yield file
    except Exception:
        if sink.error is None:
            raise
    finally:
        sink.close()
    if sink.error is not None:
        raise sink.error
