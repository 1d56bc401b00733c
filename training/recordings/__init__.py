"""Recordings of a receiver: from somebody's file to frames, and from classes back to annotations.

In the order of reading: `recording.py` (what a recording is, shifting and resampling it), `raw.py`,
`sigmf_files.py`, `arrays.py` (the formats), `formats.py` (which of them a file has), `carriers.py`,
`estimate.py` (where a signal is and how fast), `prepared.py` (frames as a network expects them),
`rows.py` (what a network said), `annotations.py` (the same in SigMF), `recording_report.py` (and as
a page), `piped.py` (samples that come through a pipe), `emitters.py` (recordings with known
contents).
"""
