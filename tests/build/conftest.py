import os

import pytest

from build.environment import setup
from tests.build.small_aaronnet import frames_for, small_checkpoint


@pytest.fixture(scope="session")
def finn(tmp_path_factory):
    """FINN+ ready for use, generating into a folder of the session."""
    before = os.environ.get("FINN_BUILD_DIR")
    setup(tmp_path_factory.mktemp("finn"))
    yield
    if before is None:
        os.environ.pop("FINN_BUILD_DIR", None)
    else:
        os.environ["FINN_BUILD_DIR"] = before


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A small AaronNet built to HDL for ZCU104."""
    from build.flow import build

    out = tmp_path_factory.mktemp("built") / "small"
    return build(small_checkpoint(), "ZCU104", out, to="hdl", frames=frames_for(26))
