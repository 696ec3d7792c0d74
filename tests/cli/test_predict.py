"""job.sh predict: which files it takes, what is refused, and what a container needs."""

from pathlib import Path

import pytest

from helper_scripts.config_paths import needed_paths
from src.cli import predict
from src.cli.predict import find_files
from src.command_line import StopSignals, UserError, read_command_line
from src.evaluation.prediction_text import Csv
from src.io_funcs import project_root


def arguments(*words):
    return read_command_line("job.sh predict", predict.__doc__, predict.add_arguments, words)


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def names(folder, *given):
    return {
        str(path.relative_to(folder)): of_folder
        for path, of_folder in find_files([folder / it for it in given]).items()
    }


def test_a_folder_stands_for_all_files_in_it_sorted(tmp_path):
    write(tmp_path, "b/10.bin", "b/9.bin", "b/a/x.bin", "b/.hidden", "b/.git/y.bin", "b/__MACOSX/z.bin", "c.bin")
    assert list(names(tmp_path, "c.bin", "b")) == ["c.bin", "b/9.bin", "b/10.bin", "b/a/x.bin"]


def test_it_is_known_whether_a_folder_led_to_a_file(tmp_path):
    write(tmp_path, "b/1", "b/2")
    assert names(tmp_path, "b/2", "b", "none") == {"b/2": False, "b/1": True, "none": False}


def test_links_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path, "elsewhere/1.bin", "b/2.bin")
    (tmp_path / "b/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "b/circle").symlink_to(tmp_path / "b")
    (tmp_path / "b/broken").symlink_to(tmp_path / "nothing")
    assert list(names(tmp_path, "b")) == ["b/2.bin", "b/broken", "b/link/1.bin"]


def test_the_table_of_a_folder_s_classes_is_no_recording(tmp_path):
    write(tmp_path, "b/1.bin", "b/labels.csv")
    assert list(names(tmp_path, "b")) == ["b/1.bin"]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="there are no files in this folder"):
        find_files([tmp_path])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["job"], "no recordings: give files or folders after the model, or --stream"),
        ([], "no model: a job comes first, or --model FILE"),
        (["--stream"], "no model: a job comes first, or --model FILE"),
        (["--model", "m.safetensors"], "no recordings: give files or folders after the model, or --stream"),
        (["job", "a.bin", "--stream"], "--stream reads standard input, but a.bin is given too"),
        (["job", "--stream", "a.bin"], "--stream reads standard input, but a.bin is given too"),
        (["--model", "m", "a", "--stream", "udp://:1"], "--stream reads udp://:1, but a is given too"),
        (["job", "--stream", "udp://1.2.3.4"], "udp://1.2.3.4: give udp://HOST:PORT"),
        (["--model", "none", "a.bin"], "none: there is no such file"),
        (["nobody", "--stream"], "there is no job nobody"),
        (["none.safetensors", "a.bin"], "there is no such file"),
    ],
)
def test_a_mistake_is_one_line(storages, words, message):
    with pytest.raises(UserError, match=message) as error:
        predict.run(arguments(*words), StopSignals())
    assert "\n" not in str(error.value)


def test_recordings_before_the_job_are_told_in_the_right_order(storages, monkeypatch):
    monkeypatch.setenv("DIFFLOGIC_FOLDER", str(storages))
    (project_root() / "logs/gestures").mkdir(parents=True)
    write(storages, "my files/1.bin")
    words = arguments("my files", "gestures", "--csv")
    with pytest.raises(UserError, match=r"\./job\.sh predict gestures 'my files'$"):
        predict.run(words, StopSignals())


def test_a_job_beside_a_model_s_file_is_refused(storages):
    (project_root() / "logs/gestures").mkdir(parents=True)
    write(storages, "a.bin")
    words = arguments("--model", "m.safetensors", "gestures", str(storages / "a.bin"))
    with pytest.raises(UserError, match=r"--model m.safetensors and the job gestures are two models: leave one out"):
        predict.run(words, StopSignals())


def test_options_may_stand_between_recordings():
    given = arguments("job", "a.bin", "--json", "b.bin", "--frames", "c.bin")
    assert (given.job, given.files, given.json, given.frames) == ("job", ["a.bin", "b.bin", "c.bin"], True, True)


def test_the_header_comes_with_the_first_line(capsys):
    table = predict._Table(Csv(["a", "b"], [], frames=True))
    assert capsys.readouterr().out == ""
    table.print("first")
    table.print("second")
    assert capsys.readouterr().out == "frame,begin_us,end_us,class,label,score_a,score_b\nfirst\nsecond\n"


def test_json_and_csv_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        arguments("job", "a", "--json", "--csv")
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("model", [["m.safetensors"], ["--model", "m.safetensors"]])
def test_a_container_needs_the_model_s_file_and_the_recordings(model, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFLOGIC_FOLDER", str(tmp_path))
    given = needed_paths("/code/src/cli", ["predict", *model, "a.bin", "/b/c", "--csv"])
    assert list(given) == [("ro", tmp_path / "m.safetensors"), ("ro", tmp_path / "a.bin"), ("ro", Path("/b/c"))]


@pytest.mark.parametrize(
    "words",
    [["job", "--stream"], ["--stream", "job"], ["job", "--stream", "udp://:7"], ["--stream", "udp://:7", "job"]],
)
def test_a_container_needs_nothing_more_for_a_stream(words):
    assert list(predict.needed_paths(arguments(*words))) == []
