"""What the board draws while it works, where its sensors say so."""

import threading
from types import TracebackType
from typing import Any

PERIOD = 0.05


class PowerMeter:
    """Samples every power rail in the background while the context lasts.

    Attributes:
        watts: rail -> mean power in watts; empty where the board has no sensors.
    """

    def __init__(self, rails: dict[str, Any] | None = None):
        self.watts: dict[str, float] = {}
        self._rails = local_rails() if rails is None else rails
        self._rails = {name: r for name, r in self._rails.items() if r.power is not None}
        self._samples: dict[str, list[float]] = {name: [] for name in self._rails}
        self._stop = threading.Event()

    def __enter__(self) -> "PowerMeter":
        self._thread = threading.Thread(target=self._run, daemon=True)
        if self._rails:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._rails:
            self._thread.join()
        self.watts = {
            name: sum(values) / len(values) for name, values in self._samples.items() if values
        }

    def _run(self) -> None:
        while not self._stop.is_set():
            for name, rail in self._rails.items():
                self._samples[name].append(float(rail.power.value))
            self._stop.wait(PERIOD)


def local_rails() -> dict[str, Any]:
    """Return pynq's power rails of the board this runs on; none when run from elsewhere."""
    import pynq
    from pynq.ps import ON_TARGET

    return dict(pynq.get_rails()) if ON_TARGET else {}
