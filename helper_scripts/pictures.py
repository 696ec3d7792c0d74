#!/usr/bin/env python3
"""Draw the README's pictures from a job's report: python helper_scripts/pictures.py JOB_ID, with Chromium on PATH."""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS.parent))

from helper_scripts.browser import page  # noqa: E402
from src.io_funcs import check_name, write_atomic  # noqa: E402
from src.jobs.folders import Job  # noqa: E402
from src.reports.report import write_report  # noqa: E402

WIDTH, HEIGHT = 1280, 860  # pixels: the numbers and the curves
COLOURS = 64  # keep a file small


def main() -> int:
    """Write docs/report.png, the top of the page, and docs/learned_gates.png."""
    job = Job(check_name(sys.argv[1], "job id"))
    report = write_report(job)
    with tempfile.TemporaryDirectory() as profile, page(Path(profile)) as browser:
        browser.open(report, width=WIDTH, height=HEIGHT)
        picture = Image.open(io.BytesIO(browser.screenshot())).crop((0, 0, WIDTH, HEIGHT))
    _save(picture, "report.png")
    _save(Image.open(job.logs / "plots" / "learned_gates.png"), "learned_gates.png")
    return 0


def _save(picture: Image.Image, name: str) -> None:
    file = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS).save(file, format="png", optimize=True)
    write_atomic(DOCS / name, file.getvalue())
    print(f"docs/{name}: {len(file.getvalue()):,} bytes")


if __name__ == "__main__":
    sys.exit(main())
