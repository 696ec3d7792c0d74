"""A job's report: `logs/<job_id>/report.html`, one file that asks nothing of the network, and its charts as PNGs.

It is made from the files that a job leaves, so it can be made again at any time, even before the job is done.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from src.command_line import UserError
from src.drawing import BOTH, OFF, ON
from src.helpers import LOG
from src.io_funcs import write_atomic
from src.jobs.files import is_there
from src.jobs.find import require_jobs
from src.jobs.folders import Job
from src.reports.contents import FRAMES_PER_PICTURE, Contents, collect
from src.reports.plots import Chart

# Counting a circuit's gates after simplification takes a second per 100,000. A run that ends does not wait longer.
MOST_GATES_AFTER_TRAINING = 200_000
KEYS = ((ON, "ON events"), (OFF, "OFF events"), (BOTH, "both"))  # colours of the pictures' pixels


def try_to_write_report(job: Job) -> None:
    """Write the report of a run that is done; whatever fails is only a warning."""
    try:
        path = write_report(job, MOST_GATES_AFTER_TRAINING)
    except Exception as error:  # a report must not end a run
        LOG.warning("cannot write the report of job %s: %s: %s", job.job_id, type(error).__name__, error)
    else:
        LOG.info("report in %s", path)


def write_report(job: Job, most_gates: int | None = None) -> Path:
    """Write report.html and plots/*.png in the job's logs; return the path of the report.

    Args:
        job: the job, done or not; the report leaves out what the job has not left.
        most_gates: a larger circuit is not simplified; None: any circuit is.

    Raises:
        UserError: if there is no such job, or it has no metrics yet.
        OSError: if a file cannot be written.
    """
    if not is_there(job.logs / "metrics.csv"):
        require_jobs([job.job_id])
        raise UserError(
            f"job {job.job_id} has nothing to report: {job.logs / 'metrics.csv'}, which is written after the first "
            f"epoch, does not exist"
        )
    contents = collect(job, most_gates)
    folder = job.logs / "plots"
    pngs = {chart.name: chart.png() for chart in contents.charts()} | contents.images
    for name, content in pngs.items():
        write_atomic(folder / f"{name}.png", content)
    for old in folder.glob("*.png"):
        if old.stem not in pngs:
            old.unlink(missing_ok=True)
    path = job.logs / "report.html"
    write_atomic(path, page(contents))
    return path


def page(contents: Contents) -> str:
    """Return the page as HTML. Whatever comes from files is escaped; only the charts' SVG is not."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(
        contents=contents,
        css=Markup((folder / "report.css").read_text(encoding="utf-8")),
        svg=_svg,
        keys=KEYS,
        frames_per_picture=FRAMES_PER_PICTURE,
    )


def _svg(chart: Chart) -> Markup:
    """Return a chart's SVG, in which matplotlib has escaped all text, with its description for screen readers."""
    return Markup(chart.svg().replace('role="img"', f'role="img" aria-label="{escape(chart.alt)}"', 1))
