"""Fixtures of the training tests."""

from pathlib import Path

import pytest
import torch

from training.synthesis import write_dataset


@pytest.fixture
def one_thread():
    """Let torch compute with one thread: the same sums, and no contention over tiny tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A synthetic file of 10 frames a cell."""
    path = tmp_path_factory.mktemp("data") / "data.h5"
    write_dataset(path, 10, 1, jobs=1)
    return path
