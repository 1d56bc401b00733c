"""How many malformed inputs the campaign has."""

from tests.campaign import (
    checkpoints,
    data_files,
    models,
    test_builds,
    test_checkpoints,
    test_data_files,
    test_packages,
    test_states,
)


def test_there_are_enough(capsys):
    counts = {
        "checkpoint": len(checkpoints.MALFORMED) + 4 * len(test_checkpoints.READERS),
        "ONNX": len(models.MALFORMED) + 6,
        "HDF5": len(data_files.MALFORMED) + 4 * len(test_data_files.READERS),
        "package": len(test_packages.PACKAGES) + len(test_packages.DESIGNS),
        "samples": len(test_packages.PREDICTIONS),
        "build, folding": 2 * len(test_builds.BUILDS) + len(test_builds.FOLDINGS),
        "what a run left": 2 * len(test_states.SHAPELESS) + len(test_states.TABLES),
    }
    with capsys.disabled():
        print(f"\nmalformed inputs: {counts}, {sum(counts.values())} in all")
    assert sum(counts.values()) >= 150 and min(counts.values()) >= 8
