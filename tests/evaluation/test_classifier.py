"""Classifier: the classes that --evaluate decides for, in any framing; streams as whole recordings."""

import dataclasses

import numpy as np
import pytest
import torch

from src import checkpoint
from src.command_line import StopSignals, UserError
from src.config import Config
from src.data import open_cache, read_samples
from src.evaluation.classifier import load_classifier
from src.evaluation.evaluate import evaluate
from src.evaluation.metrics import sums_by_recording
from src.events import Events, read_recording
from src.events.datasets.folder import FOLDER
from src.events.formats import aedat2, evt2, nmnist_bin
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.export import circuit_json
from src.export.exported import ExportedModel
from src.frame_cache.cache import read_manifest, recording_names
from src.frame_cache.prepare import prepare
from src.model import create_model
from tests import small_job
from tests.recordings import same

CONVOLUTION = "model.difflogic.architecture=convolutional model.difflogic.convolution.kernels=[4,8]"
COUNTS = "data.frame_dtype=counts"
CASES = {
    "dense": "data.polarities=both",
    "dense in bfloat16": "train.dtype=bfloat16",
    "dense, stacked and cropped": "data.stack=3 data.crop=[4,6,20,21] data.denoise_time=20000",
    "convolutional, counts": f"{CONVOLUTION} {COUNTS} model.difflogic.thermometer_levels=3 data.downsample=0.5",
    "votes": f"{CONVOLUTION} model.difflogic.readout=votes model.difflogic.num_layers=0 data.polarities=merged",
    "windows, one saccade": "data.frame_mode=time_window data.time_window=30000 data.overlap=9000 "
    "data.first_saccade_only=true data.stabilize=true data.drop_incomplete=false",
    "bins, stacked counts": f"data.frame_mode=n_time_bins data.n_time_bins=4 data.overlap=0.5 data.stack=2 {COUNTS} "
    "model.model_type=mlp",
    "cnn": "model.model_type=cnn",
    "mlp in bfloat16": "model.model_type=mlp train.dtype=bfloat16",
}
GATES = [name for name in CASES if "cnn" not in CASES[name] and "mlp" not in CASES[name]]
STREAMED = [name for name in CASES if not name.startswith("bins")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with few recordings, among them one with an event outside the sensor, and their config."""
    folder = tmp_path_factory.mktemp("recordings")
    small_job.write_recordings(folder / "recordings", train=1, test=2)
    path = folder / "recordings/NMNIST/Test/3/00001.bin"
    events = read_recording(path)
    events.x[7] = 200
    path.write_bytes(nmnist_bin.encode(events))
    (folder / "small.yaml").write_text(small_job.CONFIG.format(data_root=folder / "recordings"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("project", "scratch"):
            patch.setenv(f"{name.upper()}_STORAGE_DIR", str(folder / name))
        yield folder


@pytest.fixture(scope="module")
def saved(folder):
    """A function name of CASES -> (config, cache, model, its file); each is made once."""
    made = {}

    def get(name):
        if name not in made:
            options = ["data.val_split=0", CASES[name]]
            config = Config.from_yaml(folder / "small.yaml", options)
            prepare(config, StopSignals())
            cache = open_cache(config)
            torch.manual_seed(0)
            model = create_model(config.model, cache.frame_shape, 10, config.data.frame_dtype)
            model.fit_inputs(lambda most: np.asarray(cache.splits["train"].frames[:most]))
            about = {"config": config.to_dict(), "class_names": cache.class_names, "step": 1, "temperature": 1.0}
            about |= {"input_shape": list(cache.frame_shape), "frames": cache.content, "debug": None}
            about |= {"sensor_size": list(cache.sensor_size)}
            path = folder / f"{name}.safetensors"
            checkpoint.save_model(path, model.eval(), about)
            made[name] = config, cache, model, path
        return made[name]

    return get


@pytest.mark.parametrize("name", CASES)
def test_the_classes_are_those_of_an_evaluation(folder, saved, name):
    config, cache, model, path = saved(name)
    split = cache.splits["test"]
    scores = evaluate(model, split, config.train, torch.device("cpu"), lambda: None).scores
    numbers, _, sums = sums_by_recording(scores, split.recordings)
    names = recording_names(read_manifest(cache.folder))
    paths = [folder / "recordings/NMNIST" / names[number] for number in numbers]
    predictions = list(load_classifier(path).predict_all(paths))
    assert [it for it, _ in predictions] == paths
    assert len(paths) == 20
    for i, (_, prediction) in enumerate(predictions):
        assert prediction.label == sums[i].argmax()
        assert prediction.class_name == cache.class_names[prediction.label]
        own = scores[split.recordings == numbers[i]]
        assert prediction.num_frames == len(own) == len(prediction.frame_times)
        if config.model.model_type == "difflogic":  # counts of bits are exact
            assert np.array_equal(prediction.frame_labels, own.argmax(1).numpy())
            assert np.array_equal(prediction.frame_scores, own.double().softmax(1).numpy())
            assert np.array_equal(prediction.scores, sums[i] / len(own))
        else:
            assert np.allclose(prediction.scores, sums[i] / len(own), atol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_the_counts_of_an_evaluation_are_the_circuit_s_or_votes_of_frames(saved, name):
    config, cache, model, path = saved(name)
    split = cache.splits["test"]
    evaluation = evaluate(model, split, config.train, torch.device("cpu"), lambda: None)
    circuit = load_classifier(path).circuit
    if circuit is None:
        expected = np.eye(10)[evaluation.scores.argmax(1)]
    else:
        expected = circuit(model.circuit_inputs(read_samples(split, np.arange(len(split)))).numpy())
    assert evaluation.counts.dtype == torch.int32
    assert np.array_equal(evaluation.counts.numpy(), expected)


@pytest.mark.parametrize("name", CASES)
def test_a_recording_that_is_read_in_windows_is_classified_alike(saved, recording, name, monkeypatch):
    monkeypatch.setattr("src.evaluation.classifier.TOGETHER", 2)  # frames
    classifier = load_classifier(saved(name)[3])
    whole = classifier.predict(recording)
    classifier._window_events = 700
    in_windows = classifier.predict(recording)
    for field in dataclasses.fields(whole):
        values = getattr(whole, field.name), getattr(in_windows, field.name)
        if isinstance(values[0], np.ndarray) and values[0].dtype.kind == "f":
            assert np.allclose(*values, atol=1e-3 if classifier.circuit is None else 1e-12)
        else:
            assert np.array_equal(*values)


def test_a_recording_of_another_sensor_than_the_model_s_is_refused(dense, tmp_path):
    events = Events(*(np.zeros(3, dtype) for dtype in (np.uint16, np.uint16, np.int64, np.uint8)))
    (tmp_path / "a.raw").write_bytes(evt2.encode(events, (640, 480)))
    dense.dataset = FOLDER
    with pytest.raises(ForeignRecordingError, match="of a sensor of 640 x 480 pixels; one of 34 x 34 is needed"):
        dense.predict(tmp_path / "a.raw")


def test_a_logic_gate_network_runs_as_its_circuit(saved):
    assert load_classifier(saved("dense")[3]).circuit is not None
    assert load_classifier(saved("mlp in bfloat16")[3]).circuit is None


@pytest.mark.parametrize("name", GATES)
def test_a_circuit_s_file_classifies_as_its_model(folder, saved, recording, name):
    config, cache, model, path = saved(name)
    exported = ExportedModel(model, config, tuple(cache.class_names), 1, "net", cache.sensor_size)
    circuit = folder / f"{name}.json"
    circuit.write_text(circuit_json.export(exported).files["net.json"])
    of_model, of_circuit = load_classifier(path).predict(recording), load_classifier(circuit).predict(recording)
    for field in dataclasses.fields(of_model):
        assert np.array_equal(getattr(of_model, field.name), getattr(of_circuit, field.name))


@pytest.fixture
def dense(saved):
    return load_classifier(saved("dense")[3])


@pytest.fixture
def recording(folder):
    return folder / "recordings/NMNIST/Test/4/00000.bin"


def test_a_file_and_its_events_have_the_same_prediction(dense, recording):
    of_file, of_events = dense.predict(recording), dense.predict(read_recording(recording))
    for field in dataclasses.fields(of_file):
        assert np.array_equal(getattr(of_file, field.name), getattr(of_events, field.name))
    assert of_file.scores.sum() == pytest.approx(1)


def test_frames_say_when_they_were(dense, recording):
    events = read_recording(recording)
    frames = list(dense.predict(recording).frames())
    assert [(frame.begin, frame.end) for frame in frames[:2]] == [
        (events.t[0], events.t[99]),
        (events.t[50], events.t[149]),
    ]
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert frames[0].class_name == str(frames[0].label)


def test_events_outside_the_sensor_are_left_out_as_a_preparation_does(dense, folder):
    prediction = dense.predict(folder / "recordings/NMNIST/Test/3/00001.bin")
    assert prediction.num_outside == 1
    events = read_recording(folder / "recordings/NMNIST/Test/3/00001.bin")
    assert prediction.num_events == len(events) - 1


def test_a_recording_in_another_format_is_read_by_its_content(dense, recording, tmp_path):
    (tmp_path / "a.bin").write_bytes(aedat2.encode(read_recording(recording)))  # N-MNIST's suffix
    assert np.array_equal(dense.predict(tmp_path / "a.bin").frame_scores, dense.predict(recording).frame_scores)


def test_a_bad_file_is_an_error_in_its_place(dense, recording, tmp_path):
    contents = {"empty.bin": b"", "unknown.txt": b"hello", "foreign.bin": bytes([200, 1, 0, 0, 9] * 90)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [recording, *(tmp_path / name for name in contents), tmp_path / "none.bin", recording]
    first, empty, unknown, foreign, missing, last = (it for _, it in dense.predict_all(paths))
    assert first.label == last.label
    assert isinstance(empty, CorruptRecordingError)
    assert isinstance(unknown, ForeignRecordingError)
    assert "90 of its 90 events lie outside the sensor" in str(foreign)
    assert isinstance(missing, FileNotFoundError)


def test_events_that_there_are_none_of_are_refused(dense):
    nothing = Events(*(np.empty(0, dtype) for dtype in (np.uint16, np.uint16, np.int64, np.uint8)))
    with pytest.raises(CorruptRecordingError, match="it holds no events"):
        dense.predict(nothing)
    with pytest.raises(CorruptRecordingError, match="it holds no events"):
        dense.stream().finish()


@pytest.mark.parametrize("many", ["TOGETHER", "TOGETHER_BYTES"])
def test_predictions_do_not_depend_on_what_is_classified_together(dense, folder, monkeypatch, many):
    paths = sorted((folder / "recordings/NMNIST/Test").rglob("*.bin"))
    expected = [it.frame_scores for _, it in dense.predict_all(paths)]
    monkeypatch.setattr(f"src.evaluation.classifier.{many}", 7)
    found = [it.frame_scores for _, it in dense.predict_all(paths)]
    assert all(map(np.array_equal, found, expected))


def test_a_check_may_end_the_predictions(dense, recording):
    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(dense.predict_all([recording], check=check))


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_has_the_classes_of_the_whole_recording(saved, recording, name):
    classifier, events = load_classifier(saved(name)[3]), read_recording(recording)
    expected = classifier.predict(events)
    stream, found = classifier.stream(), []
    for begin in range(0, len(events), 23):
        part = slice(begin, begin + 23)
        found += stream.push(Events(events.x[part], events.y[part], events.t[part], events.p[part]))
    found += stream.finish()
    assert [frame.number for frame in found] == list(range(expected.num_frames))
    assert [frame.label for frame in found] == expected.frame_labels.tolist()
    assert [(frame.begin, frame.end) for frame in found] == list(map(tuple, expected.frame_times.tolist()))
    assert stream.label == expected.label
    scores = np.array([frame.scores for frame in found])
    if classifier.circuit is not None:
        assert np.array_equal(scores, expected.frame_scores)
        assert np.array_equal(stream.sums / len(found), expected.scores)
    else:
        assert np.allclose(scores, expected.frame_scores, atol=1e-3)


def test_frames_of_bins_cannot_be_streamed(saved):
    with pytest.raises(UserError, match="n_time_bins depend on all of a recording's events"):
        load_classifier(saved("bins, stacked counts")[3]).stream()


def test_a_stream_of_another_sensor_is_refused_at_its_end(dense):
    stream = dense.stream()
    list(stream.push(Events(np.full(9, 99, np.uint16), np.zeros(9, np.uint16), np.arange(9), np.zeros(9, np.uint8))))
    with pytest.raises(ForeignRecordingError, match="9 of its 9 events lie outside the sensor"):
        stream.finish()


def old_file(saved, path, overrides="", **changed):
    """A model's file without a sensor's size, its config changed by these options."""
    config, cache, model, _ = saved("dense")
    about = {"class_names": cache.class_names, "step": 1, "temperature": 1.0, "frames": "", "debug": None}
    about |= {"config": {**config.to_dict(), "data": {**config.to_dict()["data"], **changed}}}
    checkpoint.save_model(path, model, {**about, "input_shape": list(cache.frame_shape)})
    return path


@pytest.mark.parametrize("changed", [{}, {"name": "FOLDER", "folder": "x"}])
def test_an_older_file_s_sensor_is_its_dataset_s_or_its_frames_(saved, tmp_path, changed):
    classifier = load_classifier(old_file(saved, tmp_path / "a.safetensors", **changed))
    assert classifier.sensor_size == (34, 34, 2)


def test_an_older_file_whose_frames_do_not_show_the_sensor_is_refused(saved, tmp_path):
    changed = {"name": "FOLDER", "folder": "x", "downsample": 0.5}
    with pytest.raises(UserError, match="without the size of the sensor; train the job again"):
        load_classifier(old_file(saved, tmp_path / "a.safetensors", **changed))
    classifier = load_classifier(old_file(saved, tmp_path / "a.safetensors", **changed, sensor_size=[68, 67]))
    assert classifier.sensor_size == (68, 67, 2)


def test_a_sensor_that_does_not_fit_the_frames_is_refused(saved, tmp_path):
    with pytest.raises(UserError, match=r"frames are of shape \[2, 34, 34\] \[P, H, W\], but also that the sensor is"):
        load_classifier(old_file(saved, tmp_path / "a.safetensors", crop=[0, 0, 5, 5]))


def test_events_are_not_changed(dense, recording):
    events = read_recording(recording)
    dense.predict(events)
    assert same(events, read_recording(recording))


APART = np.array([5, 20], np.uint16)
ALONE = Events(APART, APART, 10**5 * APART.astype(np.int64), np.ones(2, np.uint8))


def test_a_recording_that_denoising_leaves_nothing_of_is_blank(folder, saved):
    classifier = load_classifier(saved("dense, stacked and cropped")[3])
    stream = classifier.stream()
    list(stream.push(ALONE))
    stream.finish()
    assert classifier.predict(ALONE).is_blank
    assert stream.is_blank
    assert not classifier.predict(folder / "recordings/NMNIST/Test/3/00000.bin").is_blank


@pytest.mark.parametrize(
    "rows",
    [
        lambda events: events.to_structured(),
        lambda events: np.rec.fromarrays([events.p * 2 - 1.0, events.t / 1e6, events.y, events.x], names="p,t_s,y,x"),
    ],
    ids=["tonic's", "seconds and -1"],
)
def test_an_array_is_classified_as_its_events(dense, recording, rows):
    events = read_recording(recording)
    assert (dense.predict(rows(events)).frame_scores == dense.predict(events).frame_scores).all()


def test_an_array_without_the_columns_of_events_is_refused_with_what_is_missing(dense):
    with pytest.raises(ForeignRecordingError, match="p"):
        dense.predict(np.zeros(3, [("x", int), ("y", int), ("t", int)]))
    with pytest.raises(ForeignRecordingError, match="says which column is which"):
        dense.predict(np.zeros((3, 4)))
