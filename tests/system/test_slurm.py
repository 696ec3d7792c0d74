"""Jobs in a real SLURM: submitted, preempted, queued again, resumed to the same bits; messages name mistakes early."""

import os
import re
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import main
from src.checkpoint import list_checkpoints
from src.reports.outcome import outcome
from tests import small_job
from tests.processes import wait_until
from tests.small_job import REPOSITORY
from tests.system.slurm_cluster import Slurm
from tests.system.test_resume import wait_for_step

EPOCHS = "train.epochs=6 model.difflogic.num_neurons=4000"
EVERY_BATCH = "train.checkpoint_interval_minutes=0"
LONG = ("--override", f"{EPOCHS} {EVERY_BATCH}")


# What needs no SLURM


@pytest.fixture
def folder(tmp_path):
    """A folder with a config whose contents do not matter, but that they are valid."""
    (tmp_path / "small.yaml").write_text("data: {name: DEMO}\n")
    (tmp_path / "resources.yaml").touch()
    return tmp_path


def script(folder, name, *arguments, expect=0, repository=REPOSITORY, **variables):
    """Run a script of helper_scripts; return what it prints."""
    result = subprocess.run(
        [repository / "helper_scripts" / name, *arguments],
        cwd=folder,
        env={**small_job.environment(folder), **variables},
        capture_output=True,
        text=True,
    )
    assert result.returncode == expect, result.stdout + result.stderr
    assert "unbound" not in result.stderr
    return result.stdout + result.stderr


def refused(folder, name, *arguments):
    """The one line that says why nothing was submitted."""
    lines = script(folder, name, *arguments, expect=2).splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def dry_run(folder, name, *arguments, resources="", **options):
    """The words of the sbatch command."""
    (folder / "resources.yaml").write_text(resources)
    output = script(folder, name, "--dry-run", "--resources=resources.yaml", *arguments, **options)
    line = output.splitlines()[0]  # a note may follow
    return subprocess.check_output(["bash", "-c", f"printf '%s\\0' {line}"], text=True).split("\0")[:-1]


def test_dry_run_shows_the_command_and_writes_nothing(folder):
    before = sorted(folder.rglob("*"))
    output = script(folder, "slurm_train.sh", "--dry-run", "small.yaml", "job")
    assert output.startswith("'sbatch' ")
    assert len(output.splitlines()) == 1
    assert sorted(folder.rglob("*")) == before


def test_a_job_is_preemptible(folder):
    words = dry_run(folder, "slurm_train.sh", "small.yaml", "job")
    assert {"--signal=B:USR1@90", "--requeue", "--open-mode=append", "--export=ALL", "--job-name=job"} <= set(words)


def test_the_log_lies_in_the_job_s_folder_whatever_its_name(folder):
    words = dry_run(folder, "slurm_train.sh", "small.yaml", "job", PROJECT_STORAGE_DIR="a %j b")
    assert f"--output={folder}/a %%j b/logs/job/slurm-%j.out" in words


def test_options_of_the_command_line_win_over_the_yaml_and_empty_ones_are_left_out(folder):
    resources = "# all\ntime: 24:00:00 # a day\npartition:\n\ngpus: 2\nmem: '8G'\ncomment: \"a # b\"\r\n"
    words = dry_run(folder, "slurm_train.sh", "--time=5", "--gpus=", "small.yaml", "job", resources=resources)
    options = [
        word for word in words if word.split("=")[0] in ("--time", "--partition", "--gpus", "--mem", "--comment")
    ]
    assert sorted(options) == ["--comment=a # b", "--mem=8G", "--time=5"]


def test_the_shipped_resources_are_read(folder):
    assert "'--cpus-per-task=4'" in script(folder, "slurm_train.sh", "--dry-run", "small.yaml", "job")


def test_a_preparation_asks_for_no_gpu_of_the_yaml(folder):
    words = dry_run(folder, "slurm_prepare.sh", "small.yaml", resources="gpus: 1\ngres: gpu\nmem: 1G\n")
    assert "--mem=1G" in words
    assert not [word for word in words if word.startswith(("--gpus", "--gres"))]
    assert "--gpus=1" in dry_run(folder, "slurm_prepare.sh", "--gpus=1", "small.yaml")


def test_an_unreadable_line_of_the_yaml_is_one_error(folder):
    (folder / "resources.yaml").write_text("# resources\nmem: [1]\n")
    output = refused(folder, "slurm_train.sh", "--resources=resources.yaml", "small.yaml", "job")
    assert output.startswith("resources.yaml, line 2: cannot read 'mem: [1]'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time", "5", "small.yaml", "job"], "config 5 does not exist"),
        (["-t5", "small.yaml", "job"], "long names"),
        (["--output=a", "small.yaml", "job"], "--output=a: this option cannot be set"),
        (["--array=1-2", "small.yaml", "job"], "slurm_array.sh submits several jobs"),
        (["--resources=none", "small.yaml", "job"], "none: cannot be read"),
        (["none.yaml", "job"], "config none.yaml does not exist"),
        (["small.yaml", "a/b"], "job id 'a/b' is not allowed"),
        (["small.yaml", ".."], "job id '..' is not allowed"),
        (["small.yaml", "job", "--rsume"], "job job: error: unrecognized arguments: --rsume; did you mean --resume?"),
        (["small.yaml", "job", "--override", "train.epoch=3"], "job job: --override: unknown key train.epoch; did you"),
        (["small.yaml", "job", "--nproc=0"], "job job: --nproc 0: must be at least 1"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_submitted(folder, arguments, message):
    assert message in refused(folder, "slurm_train.sh", *arguments)
    assert message in refused(folder, "slurm_train.sh", "--dry-run", *arguments)
    assert not (folder / "project").exists()


BREAKING = [
    (
        "--signal=B:USR2@120",
        "not receive this signal, so no checkpoint would be saved; use --signal=B:USR1@SECONDS",
    ),
    ("--signal=USR1@90", "the batch script would not receive this signal"),
    ("--signal=KILL", "the batch script would not receive this signal"),
    ("--no-requeue", "a preempted job must go back to the queue"),
    ("--open-mode=truncate", "a later start must go on in the log"),
    ("--export=NONE", "the job needs this shell's variables"),
    ("--output=/dev/full", "the log's place is known"),
    ("--error=/dev/null", "errors belong in the log"),
    ("--wrap=true", "the batch script is slurm_job.sh"),
    ("--input=/dev/null", "jobs read nothing"),
    ("--kill-on-bad-exit=1", "it is an option of srun"),
    ("--no-kill=on", "SLURM must queue a job again if a node fails"),
    ("--container=/oci", "SINGULARITY_CONTAINER names the image"),
    ("--get-user-env=1", "the job needs this shell's variables"),
    ("--wait", "the script would wait for the job's end"),
    ("--test-only", "use --dry-run"),
    ("--sig=B:USR2@120", "sbatch may take it for an abbreviation of --signal; write the full name"),
    ("--no-req", "sbatch may take it for an abbreviation of --no-requeue"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("option", "reason"), BREAKING)
def test_an_option_that_a_job_could_not_survive_is_refused_with_its_reason(folder, option, reason):
    message = refused(folder, "slurm_train.sh", option, "small.yaml", "job")
    assert option in message
    assert reason in message
    name, _, value = option.removeprefix("--").partition("=")
    (folder / "resources.yaml").write_text(f"{name}: {value or 'yes'}\n")
    assert reason in refused(folder, "slurm_train.sh", "--resources=resources.yaml", "small.yaml", "job")


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("SBATCH_ARRAY_INX", "slurm_array.sh submits several jobs"),
        ("SBATCH_ERROR", "errors belong in the log"),
        ("SBATCH_WAIT", "the script would wait for the job's end"),
        ("SBATCH_GET_USER_ENV", "the job needs this shell's variables"),
        ("SBATCH_NO_KILL", "SLURM must queue a job again"),
    ],
)
def test_a_variable_that_sets_such_an_option_is_refused(folder, variable, reason):
    output = script(folder, "slurm_train.sh", "--dry-run", "small.yaml", "job", expect=2, **{variable: "1"})
    assert f"{variable} is set: {reason}" in output


def test_variables_whose_options_the_scripts_give_themselves_have_no_effect(folder):
    theirs = {"SBATCH_EXPORT": "NONE", "SBATCH_SIGNAL": "USR2", "SBATCH_NO_REQUEUE": "1", "SBATCH_OPEN_MODE": "t"}
    words = dry_run(folder, "slurm_train.sh", "small.yaml", "job", **theirs)
    assert {"--export=ALL", "--signal=B:USR1@90", "--requeue", "--open-mode=append"} <= set(words)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--time=1"], "the time limit 1 is 60 s, and jobs get their stop signal 90 s before it"),
        (["--time=1:08"], "the time limit 1:08 is 68 s"),
        (["--time=1:00:00", "--signal=B:USR1@3600"], "the time limit 1:00:00 is 3600 s"),
        (["--time=0-1:30", "--signal=B:USR1@5400"], "the time limit 0-1:30 is 5400 s"),
        (["--time=1-00", "--signal=B:USR1@90000"], "the time limit 1-00 is 86400 s"),
        (["--time=12:00:00", "--time-min=1"], "the time limit 1 is 60 s, and jobs get their stop signal 90 s"),
        (["--time-min=1:00"], "give a longer --time-min"),
        (["--time=1", "--signal=B:TERM@5"], None),
        (["--time-min=1", "--signal=B:TERM@5"], None),
        (["--time-min=10"], None),
        (["--time=0"], None),
        (["--time=1:31"], None),
        (["--time=1-0"], None),
        (["--time=UNLIMITED"], None),
        (["--time="], None),
    ],
)
def test_a_job_needs_time_beyond_what_saving_takes(folder, options, told):
    if told is None:
        dry_run(folder, "slurm_train.sh", *options, "small.yaml", "job", resources="time: 5\n")
    else:
        assert told in refused(folder, "slurm_train.sh", *options, "small.yaml", "job")


@pytest.mark.parametrize("name", ["time", "time-min"])
@pytest.mark.parametrize("value", ["24h", "1:2:3:4", "12.5", "a day"])
def test_a_time_limit_that_is_none_is_refused_before_sbatch_sees_it(folder, name, value):
    told = refused(folder, "slurm_train.sh", f"--{name}={value}", "small.yaml", "job")
    assert f"{name} = {value}: this is no time limit; give minutes" in told


def test_a_time_limit_of_the_file_of_resources_is_checked_too(folder):
    (folder / "resources.yaml").write_text("time-min: 24h\n")
    told = refused(folder, "slurm_train.sh", "--resources=resources.yaml", "small.yaml", "job")
    assert "time-min = 24h: this is no time limit" in told


def test_a_time_limit_of_a_variable_is_checked_if_there_is_no_other(folder):
    dry_run(folder, "slurm_train.sh", "--time=5", "small.yaml", "job", SBATCH_TIMELIMIT="1")
    words = ("--dry-run", "--resources=resources.yaml", "small.yaml", "job")
    assert "the time limit 1 is 60 s" in script(folder, "slurm_train.sh", *words, expect=2, SBATCH_TIMELIMIT="1")


@pytest.mark.slow
@pytest.mark.parametrize("value", ["B:USR1@120", "b:sigterm@60", "B:10", "B:HUP@30", ""])
def test_a_signal_that_the_batch_script_passes_on_may_be_chosen(folder, value):
    words = dry_run(folder, "slurm_train.sh", f"--signal={value}", "small.yaml", "job")
    assert [word for word in words if word.startswith("--signal")][-1] == f"--signal={value or 'B:USR1@90'}"


@pytest.mark.parametrize("name", ["slurm_train.sh", "slurm_prepare.sh", "slurm_array.sh"])
def test_missing_arguments_are_told_in_one_line(folder, name):
    (line,) = script(folder, name, expect=2).splitlines()
    assert line.endswith(f"the options of sbatch (see {name} --help)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard=9/8"], "prepare_data.sh: error: argument --shard"),
        (["--override", "data.overlap=-1"], "--override: data.overlap"),
    ],
)
def test_a_preparation_s_mistakes_are_told_before_it_is_submitted(folder, arguments, message):
    assert message in refused(folder, "slurm_prepare.sh", "small.yaml", *arguments)
    assert not (folder / "project").exists()


def done_job(folder, job_id):
    """What a job leaves that is done."""
    models = folder / "project" / "models" / job_id
    models.mkdir(parents=True)
    (models / "final.safetensors").touch()


def test_a_job_that_exists_is_not_submitted_unless_an_option_says_what_to_do(folder):
    done_job(folder, "job")
    message = "job job has checkpoints, models or metrics already: --resume continues it"
    assert message in refused(folder, "slurm_train.sh", "small.yaml", "job")
    for option in ("--resume", "--restart", "--evaluate"):
        assert option in dry_run(folder, "slurm_train.sh", "small.yaml", "job", option)


def test_without_sbatch_an_error_says_where_to_run_it(folder):
    tools = folder / "tools"
    tools.mkdir()
    for tool in ("bash", "basename", "dirname", "env", "readlink"):
        (tools / tool).symlink_to(shutil.which(tool))
    (tools / "python3").symlink_to("/usr/bin/python3")
    output = script(folder, "slurm_train.sh", "small.yaml", "job", expect=2, PATH=str(tools))
    assert [line.partition(":")[2] for line in output.splitlines()] == [
        " overrides, options and job ids are not checked: no Python here has the packages",
        " sbatch is not on PATH: run this where SLURM is, such as a cluster's login node; --dry-run needs no SLURM",
    ]
    assert not (folder / "project").exists()


def listed(folder, text):
    """The jobs that slurm_array.sh reads from a list: their words after the config."""
    (folder / "a list.txt").write_text(text)
    scripts = folder / "helper_scripts"  # alone: there they find no packages to check words by, which may be any here
    if not scripts.exists():
        shutil.copytree(REPOSITORY / "helper_scripts", scripts)
    words = dry_run(folder, "slurm_array.sh", "a list.txt", repository=folder)
    groups = words[words.index(str(folder)) + 1 :]
    jobs = []
    while groups:
        count = int(groups[0])
        assert groups[1:3] == ["train.sh", str(folder / "small.yaml")]
        jobs.append(groups[3 : count + 1])
        groups = groups[count + 1 :]
    assert f"--array=1-{len(jobs)}" in words
    return jobs


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_list_and_resources_may_have_a_byte_order_mark_and_windows_line_ends(folder, locale, monkeypatch):
    monkeypatch.setenv("LC_ALL", locale)
    assert listed(folder, "\ufeffsmall.yaml a --resume\r\nsmall.yaml b\r\n") == [["a", "--resume"], ["b"]]
    resources = "\ufefftime: 5\r\npartition: p\r\n"
    words = dry_run(folder, "slurm_train.sh", "small.yaml", "job", resources=resources)
    assert {"--time=5", "--partition=p"} <= set(words)


def test_words_of_a_list_reach_the_batch_script_as_they_are_and_nothing_is_run(folder):
    words = ["a b", "$(touch trap)", "`touch trap`", "$HOME", "*", ";", "~", "it's", 'a"b', "\\", "", "ä", "-n"]
    assert listed(folder, f"small.yaml a {shlex.join(words)}\nsmall.yaml b\n") == [["a", *words], ["b"]]
    assert not (folder / "trap").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no jobs"),
        ("# nothing\n\n", "has no jobs"),
        ("small.yaml a\nsmall.yaml\n", "line 2: a line is CONFIG JOB_ID"),
        ("none.yaml a", "line 1: config none.yaml does not exist"),
        ("small.yaml a/b", "line 1: job id 'a/b' is not allowed"),
        ("small.yaml a\nsmall.yaml b\nsmall.yaml 'a'", "line 3: job id a stands in line 1 already"),
        ("small.yaml a 'b", "line 1: a quote is not closed"),
        ("small.yaml a\nsmall.yaml b --override train.epochs=0", "job b: --override: train.epochs"),
    ],
)
def test_a_list_is_checked_before_anything_is_submitted(folder, content, message):
    (folder / "list").write_text(content)
    assert message in refused(folder, "slurm_array.sh", "list")


@pytest.mark.slow
def test_only_jobs_of_the_list_that_are_submitted_must_not_exist(folder):
    (folder / "list").write_text("".join(f"small.yaml {job_id}\n" for job_id in "abcde"))
    done_job(folder, "a")
    done_job(folder, "d")
    for tasks in ("2", "2,3,5", "3-5:2", "2-3%1"):
        assert f"--array={tasks}" in dry_run(folder, "slurm_array.sh", f"--array={tasks}", "list")
    for tasks, job_id in (("1-5", "a"), ("2,4", "d"), ("2-5:2", "d"), ("3-5,1", "d")):
        assert f"job {job_id} has checkpoints" in refused(folder, "slurm_array.sh", f"--array={tasks}", "list")
    assert "job a has checkpoints" in refused(folder, "slurm_array.sh", "list")


@pytest.mark.slow
@pytest.mark.parametrize("tasks", ["0-1", "1-3", "3", "1,3", "a", "2-1", "1-2:0", "1:2", "1--2"])
def test_tasks_that_the_list_does_not_have_are_refused(folder, tasks):
    (folder / "list").write_text("small.yaml a\nsmall.yaml b\n")
    assert "has the tasks 1 to 2" in refused(folder, "slurm_array.sh", f"--array={tasks}", "list")


def test_how_many_tasks_run_at_once_is_sbatch_s_option(folder):
    (folder / "list").write_text("small.yaml a\nsmall.yaml b\n")
    assert "--array=1-2%1" in dry_run(folder, "slurm_array.sh", "--array=1-2%1", "list")


# The batch script, as SLURM starts it, on a wrapper that says what it was given


@pytest.fixture
def repository(tmp_path):
    """A train.sh and a prepare_data.sh that print their arguments, then run $THEN or end with $CODE."""
    for name in ("train.sh", "prepare_data.sh"):
        path = tmp_path / name
        path.write_text("#!/bin/sh\n[ $# = 0 ] || printf '<%s>\\n' \"$@\"\n${THEN:-exit $CODE}\n")
        path.chmod(0o755)
    return tmp_path


def batch_script(repository, *words, **variables):
    command = [REPOSITORY / "helper_scripts/slurm_job.sh", repository, *words]
    environment = {**os.environ, "SLURM_JOB_ID": "1", "CODE": "0", "PROJECT_STORAGE_DIR": str(repository)}
    environment |= variables
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def given(repository, *words, **variables):
    """What reaches the wrapper."""
    output, _ = batch_script(repository, *words, **variables).communicate()
    return re.findall(r"^<(.*?)>$", output, re.MULTILINE | re.DOTALL)


def test_the_first_start_gets_the_arguments_as_they_are(repository):
    words = ["train.sh", "con fig", "job", "--restart", "a\n'\"*$HOME"]
    assert given(repository, "5", *words) == words[1:]


def test_every_later_start_resumes(repository):
    job = ("3", "train.sh", "config", "job")
    assert given(repository, *job, SLURM_RESTART_COUNT="1") == ["config", "job", "--resume"]
    job = ("6", "train.sh", "config", "job", "--restart", "--override", "a=1")
    assert given(repository, *job, SLURM_RESTART_COUNT="2") == ["config", "job", "--override", "a=1", "--resume"]


def test_a_restart_that_ends_before_python_has_noted_it_is_made_once_more(repository):
    job = ("4", "train.sh", "config", "job", "--restart")
    given(repository, *job, CODE="75")
    assert given(repository, *job, CODE="75", SLURM_RESTART_COUNT="1")[2:] == ["--restart"]
    noted = 'rm "$DIFFLOGIC_UNNOTED_RESTART"; exit 75'
    assert given(repository, *job, THEN=noted, SLURM_RESTART_COUNT="2")[2:] == ["--restart"]
    assert given(repository, *job, SLURM_RESTART_COUNT="3")[2:] == ["--resume"]


@pytest.mark.parametrize(
    "options",
    [[], ["--resume"], ["--restart"], ["--evaluate"], ["--evaluate", "--split=val", "--model=final"], ["--nproc=2"]],
    ids=" ".join,
)
@pytest.mark.parametrize("nodes", ["1", "2"])
def test_what_a_later_start_is_given_is_a_command_line_that_main_takes(repository, tmp_path, options, nodes):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "srun").write_text('#!/bin/bash\nwhile [[ $1 != bash ]]; do shift; done\nSLURM_NODEID=1 exec "$@"\n')
    (tools / "srun").chmod(0o755)
    config = tmp_path / "config.yaml"
    config.write_text("{}")
    job = [str(3 + len(options)), "train.sh", str(config), "job", *options]
    variables = {"SLURM_JOB_NUM_NODES": nodes, "SLURMD_NODENAME": "here", "PATH": f"{tools}:{os.environ['PATH']}"}
    words = given(repository, *job, SLURM_RESTART_COUNT="1", **variables)
    arguments = main.read_arguments([words[0], f"--job_id={words[1]}", *words[2:]])
    main.checked_config(arguments)
    assert (arguments.resume, arguments.evaluate) == ("--evaluate" not in options, "--evaluate" in options)


def test_a_preparation_has_nothing_to_resume(repository):
    assert given(repository, "2", "prepare_data.sh", "config", SLURM_RESTART_COUNT="1") == ["config"]


@pytest.mark.parametrize("code", [0, 1, 2, 127, 130, 137])
def test_an_exit_code_other_than_75_is_the_job_s(repository, code):
    job = batch_script(repository, "3", "train.sh", "config", "job", CODE=str(code))
    assert f"ended with exit code {code}" in job.communicate()[0]
    assert job.returncode == code


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_is_passed_on_as_often_as_it_comes_and_the_exit_code_is_kept(repository, number):
    (repository / "wait.py").write_text(
        "import signal, sys\n"
        "stop = (signal.SIGUSR1, signal.SIGTERM)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, stop)\n"
        "print('ready', flush=True)\n"
        "for _ in range(3): print(int(signal.sigwait(stop)), flush=True)\n"
        "sys.exit(3)\n"
    )
    job = batch_script(repository, "1", "train.sh", THEN=f"exec python3 {repository}/wait.py")
    while job.stdout.readline() != "ready\n":
        pass
    for _ in range(3):
        job.send_signal(number)
        assert job.stdout.readline() == f"{int(number)}\n"
    assert "ended with exit code 3" in job.communicate()[0]
    assert job.returncode == 3


# In SLURM


@dataclass
class Cluster(Slurm):
    """SLURM, and the folder of its user."""

    folder: Path


@pytest.fixture(scope="module")
def cluster(slurm, tmp_path_factory):
    """A folder with an awkward name, its cache prepared by SLURM, and the job `whole`, which nothing interrupted."""
    folder = tmp_path_factory.mktemp("it's 100%j a folder; $(no) trap")
    small_job.write_config(folder)
    job = slurm.submit("slurm_prepare.sh", "small.yaml", folder=folder)
    assert slurm.wait_for_end(job)["JobState"] == "COMPLETED", log_of(folder, "slurm", job)
    small_job.run(folder, "main.py", "small.yaml", "--job_id=whole", "--override", EPOCHS)
    return Cluster(slurm.config, folder)


def log_of(folder, *parts):
    """A job's log: the folder under project storage, then SLURM's id."""
    *place, job = parts
    return (folder / "project" / Path(*place) / f"slurm-{job}.out").read_text()


def train(cluster, job_id, *arguments, options=()):
    return cluster.submit("slurm_train.sh", *options, "small.yaml", job_id, *arguments, folder=cluster.folder)


def log(cluster, job_id, job):
    return log_of(cluster.folder, "logs", job_id, job)


def process_of(job_id):
    """The pid of the Python that trains the job."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"--job_id={job_id}".encode() in words:
            return int(path.parent.name)
    raise LookupError(job_id)


def signal_pending(pid, number):
    mask = re.search(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]
    return int(mask, 16) >> (number - 1) & 1


@pytest.mark.slow
def test_a_job_preempted_by_the_signal_resumes_and_ends_with_the_same_bits(cluster):
    job = train(cluster, "signalled", *LONG)
    wait_for_step(cluster.folder, "signalled", 5)
    cluster.control("scancel", "--batch", "--signal=USR1", job)
    ended = cluster.wait_for_end(job)
    text = log(cluster, "signalled", job)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("COMPLETED", "0:0", "1"), text
    assert ended["JobName"] == "signalled"
    assert text.count("queued again") == text.count("resuming after") == 1
    assert outcome(cluster.folder, "signalled") == outcome(cluster.folder, "whole")


@pytest.mark.slow
def test_a_job_at_its_time_limit_resumes_and_ends_with_the_same_bits(cluster):
    # SLURM looks at time limits twice a minute; the job is held still until the signal is there.
    job = train(cluster, "limit", *LONG, options=("--time=1", "--signal=B:USR1@5"))
    wait_for_step(cluster.folder, "limit", 5)
    python = process_of("limit")
    os.kill(python, signal.SIGSTOP)
    wait_until(lambda: signal_pending(python, signal.SIGUSR1))
    os.kill(python, signal.SIGCONT)
    wait_until(lambda: "queued again" in log(cluster, "limit", job))
    cluster.control("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    ended = cluster.wait_for_end(job)
    text = log(cluster, "limit", job)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), text
    assert "resuming after" in text
    assert outcome(cluster.folder, "limit") == outcome(cluster.folder, "whole")


@pytest.mark.slow
def test_a_job_that_another_one_preempts_resumes_once_and_ends_with_the_same_bits(cluster):
    job = train(cluster, "preempted", *LONG, options=("--exclusive",))
    wait_for_step(cluster.folder, "preempted", 5)
    os.kill(python := process_of("preempted"), signal.SIGSTOP)
    other = cluster.control(
        "sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true"
    ).strip()
    wait_until(lambda: "DUE TO PREEMPTION" in log(cluster, "preempted", job))
    with suppress(ProcessLookupError):  # SLURM itself sends SIGCONT before SIGTERM
        os.kill(python, signal.SIGCONT)
    cluster.wait_for_end(other)
    ended = cluster.wait_for_end(job)
    text = log(cluster, "preempted", job)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), text
    assert "cannot be queued" not in text
    assert outcome(cluster.folder, "preempted") == outcome(cluster.folder, "whole")


@pytest.mark.slow
def test_a_cancelled_job_saves_a_checkpoint_and_stays_cancelled(cluster):
    job = train(cluster, "cancelled", *LONG)
    wait_for_step(cluster.folder, "cancelled", 5)
    cluster.control("scancel", job)
    ended = cluster.wait_for_end(job)
    assert (ended["JobState"], ended["Restarts"]) == ("CANCELLED", "0")
    assert "submit it with --resume" in log(cluster, "cancelled", job)
    assert list_checkpoints(cluster.folder / "project/models/cancelled/checkpoints")


@pytest.mark.slow
def test_a_signal_that_comes_before_python_can_note_it_queues_the_job_again(cluster, tmp_path):
    (tmp_path / "train.sh").write_text("#!/bin/sh\n[ $SLURM_RESTART_COUNT ] && exit\necho begun\nexec sleep 60\n")
    (tmp_path / "train.sh").chmod(0o755)
    body = str(REPOSITORY / "helper_scripts/slurm_job.sh")
    options = ("--parsable", "--mem=100", "--requeue", "--open-mode=append", f"--output={tmp_path}/slurm-%j.out")
    options += (f"--export=ALL,PROJECT_STORAGE_DIR={tmp_path}",)
    job = cluster.control("sbatch", *options, body, str(tmp_path), "3", "train.sh", "config", "job").strip()
    cluster.wait(job, lambda fields: fields["JobState"] == "RUNNING")
    text = tmp_path / f"slurm-{job}.out"
    wait_until(lambda: text.exists() and "begun" in text.read_text())
    cluster.control("scancel", "--batch", "--signal=USR1", job)
    ended = cluster.wait_for_end(job)
    assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", "1"), text.read_text()
    assert "USR1 came before the program had begun" in text.read_text()


@pytest.mark.slow
def test_a_mistake_ends_the_job_for_good_and_the_log_tells_it_word_for_word(cluster):
    values = ["a b", "$(touch trap)", "'; touch trap; '", "*", "%j"]
    lines = [
        shlex.join(["small.yaml", f"mistake_{i}", "--override", f'train.teacher.model="{v}"'])
        for i, v in enumerate(values)
    ]
    (cluster.folder / "mistakes").write_text("\n".join(lines))
    array = cluster.submit("slurm_array.sh", "mistakes", folder=cluster.folder)
    other = train(cluster, "mistake", "--override", 'train.teacher.model="a\nb"')
    jobs = {f"{array}_{i + 1}": (f"mistake_{i}", value) for i, value in enumerate(values)}
    for job, (job_id, value) in (jobs | {other: ("mistake", "a\nb")}).items():
        ended = cluster.wait_for_end(job)
        text = log(cluster, job_id, job)
        assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "2:0", "0"), text
        assert repr(value) in text
    assert not (cluster.folder / "trap").exists()


@pytest.mark.slow
def test_an_evaluation_that_is_queued_again_evaluates_again(cluster):
    job = train(cluster, "whole", "--evaluate", "--override", EPOCHS)
    cluster.wait(job, lambda fields: fields["JobState"] == "RUNNING")
    cluster.control("scontrol", "requeue", job)
    ended = cluster.wait_for_end(job)
    text = log(cluster, "whole", job)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("COMPLETED", "0:0", "1"), text
    assert list((cluster.folder / "project/logs/whole").glob("evaluation_*.json"))


@pytest.mark.slow
def test_a_job_that_exists_is_refused_unless_resume_is_given(cluster):
    assert "--resume continues it" in refused(cluster.folder, "slurm_train.sh", "small.yaml", "whole")
    ended = cluster.wait_for_end(job := train(cluster, "whole", "--resume", "--override", EPOCHS))
    assert ended["ExitCode"] == "0:0", log(cluster, "whole", job)


@pytest.mark.slow
def test_a_job_that_exists_only_when_it_begins_is_refused_then(cluster):
    job = train(cluster, "late", options=("--hold",))
    done_job(cluster.folder, "late")
    cluster.control("scontrol", "release", job)
    assert cluster.wait_for_end(job)["ExitCode"] == "2:0"
    assert "--resume continues it" in log(cluster, "late", job)


@pytest.mark.slow
def test_a_job_on_two_nodes_is_one_training_that_is_preempted_and_resumed(cluster):
    job = train(cluster, "pair", *LONG, options=("--partition=pair", "--nodes=2"))
    wait_for_step(cluster.folder, "pair", 5)
    cluster.control("scancel", "--batch", "--signal=USR1", job)
    ended = cluster.wait_for_end(job, seconds=180)
    text = log(cluster, "pair", job)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("COMPLETED", "0:0", "1"), text
    assert text.count("queued again") == text.count("resuming after") == 1
    assert text.count("test, final model:") == 1
    assert "how a batch's gradients are summed was" not in text
    one, two = (outcome(cluster.folder, job_id)[2] for job_id in ("whole", "pair"))
    assert one["test"]["frame_accuracy"] == pytest.approx(two["test"]["frame_accuracy"], abs=0.02)


@pytest.mark.slow
def test_a_cancelled_job_on_two_nodes_saves_a_checkpoint_and_stays_cancelled(cluster):
    job = train(cluster, "cancelled_pair", *LONG, options=("--partition=pair", "--nodes=2"))
    wait_for_step(cluster.folder, "cancelled_pair", 5)
    cluster.control("scancel", job)
    ended = cluster.wait_for_end(job)
    text = log(cluster, "cancelled_pair", job)
    assert (ended["JobState"], ended["Restarts"]) == ("CANCELLED", "0"), text
    assert "stopped by a signal after batch" in text
    assert "submit it with --resume" in text
    assert list_checkpoints(cluster.folder / "project/models/cancelled_pair/checkpoints")


@pytest.mark.slow
def test_of_an_array_only_the_preempted_task_starts_again(cluster):
    jobs = cluster.folder / "jobs.txt"
    jobs.write_text(
        f"# two\nsmall.yaml array_1 --override '{EPOCHS} base.seed=1'\n"
        f'"{cluster.folder}/small.yaml" array_2 --override "{EPOCHS} {EVERY_BATCH}"\n'
    )
    job = cluster.submit("slurm_array.sh", "jobs.txt", folder=cluster.folder)
    jobs.write_text("what was submitted is as it was\n")
    wait_for_step(cluster.folder, "array_2", 5)
    cluster.control("scancel", "--batch", "--signal=USR1", f"{job}_2")
    for task, restarts in ((1, "0"), (2, "1")):
        ended = cluster.wait_for_end(f"{job}_{task}")
        text = log(cluster, f"array_{task}", f"{job}_{task}")
        assert (ended["JobState"], ended["Restarts"]) == ("COMPLETED", restarts), text
        assert ended["JobName"] == f"array_{task}"
        assert text.count("test, final model:") == 1
    assert outcome(cluster.folder, "array_2") == outcome(cluster.folder, "whole")


@pytest.mark.slow
def test_resources_of_the_yaml_and_the_command_line_reach_slurm(cluster):
    job = train(cluster, "resources", options=("--begin=now+1hour", "--time=7", "--comment=two words"))
    fields = cluster.job(job)
    cluster.control("scancel", job)
    assert (fields["TimeLimit"], fields["CPUs/Task"], fields["MinMemoryNode"]) == ("00:07:00", "1", "1500M")
    assert fields["Comment"] == "two words"


@pytest.mark.slow
def test_a_job_that_sbatch_refuses_leaves_nothing(cluster):
    path = REPOSITORY / "helper_scripts/slurm_train.sh"
    output = cluster.run(path, "--partition=none", "--gpus=", "small.yaml", "none", folder=cluster.folder, expect=1)
    assert "invalid partition specified: none" in output
    assert not (cluster.folder / "project/logs/none").exists()
