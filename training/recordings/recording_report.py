"""What was found in a recording as one self-contained HTML page."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from training.page import write_page
from training.pictures import constellations, data_uri, waterfall
from training.recordings.prepared import Prepared
from training.recordings.recording import IQSource, Recording
from training.recordings.rows import Row, Run, shares

TEMPLATE = Path(__file__).with_name("recording_report.html.jinja")
_TIMES, _BINS, _AVERAGED = 400, 512, 4
_EXAMPLES = 12


def spectrogram(source: IQSource) -> np.ndarray:
    """Return dB (times, frequencies from -rate/2 on), a few pieces averaged a time."""
    bins = min(_BINS, source.samples)
    window = np.hanning(bins).astype(np.float32)
    times = max(min(_TIMES, source.samples // bins), 1)
    power = np.zeros((times, bins))
    begins = np.linspace(0, source.samples - bins, times * _AVERAGED).astype(np.int64)
    for number, begin in enumerate(begins):
        piece = source.read(int(begin), bins) * window
        power[number // _AVERAGED] += np.abs(np.fft.fftshift(np.fft.fft(piece))) ** 2
    return 10 * np.log10(power / _AVERAGED + 1e-20)


def write_recording_report(
    path: Path,
    name: str,
    network: str,
    trained_on: str,
    recording: Recording,
    channels: Sequence[tuple[Prepared, Iterable[Row]]],
    runs: Sequence[Run],
    facts: Sequence[tuple[str, str]],
) -> None:
    """Write the page.

    Args:
        path: the file.
        name: of the recording.
        network: what classified it.
        trained_on: label of what that was trained on.
        recording: what was classified.
        channels: frames of each, and a row a frame in their order; the lowest channel first.
        runs: the same, joined.
        facts: what was done, for a table.
    """
    source = recording.source
    rate, edge = recording.rate, source.rate / 2
    halves = [min(each.source.rate / 2, edge) for each, _ in channels]
    drawn = waterfall(
        spectrogram(source),
        recording.samples / rate,
        (-edge, edge),
        [
            (each.centre - half, each.centre + half)
            for (each, _), half in zip(channels, halves, strict=True)
        ],
        [
            [
                (run.sample / rate, run.end / rate, run.answer)
                for run in runs
                if run.centre == each.centre
            ]
            for each, _ in channels
        ],
        "s" if recording.rate_known else "samples",
    )
    best: dict[str, tuple[float, Prepared, int]] = {}
    for prepared, rows in channels:
        for number, row in enumerate(rows):
            sure = row.probability or 0.0
            if row.answer not in best or sure > best[row.answer][0]:
                best[row.answer] = (sure, prepared, number)
    of_all = shares(row for _, rows in channels for row in rows)
    examples = {
        answer: (best[answer][1].constellation(best[answer][2]), best[answer][0])
        for answer in list(of_all)[:_EXAMPLES]
    }
    write_page(
        path,
        TEMPLATE,
        name=name,
        network=network,
        trained_on=trained_on,
        facts=facts,
        shares=of_all.items(),
        runs=runs,
        rate=rate,
        unit="s" if recording.rate_known else "samples",
        waterfall=data_uri(drawn),
        constellations=data_uri(constellations(examples)),
    )
