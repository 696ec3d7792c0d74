"""job.sh export: a trained job's model, circuit, C program, Verilog simulation and ONNX file are one function."""

import argparse
import json
import math
import shutil
import subprocess

import numpy as np
import pytest
import torch

from src import checkpoint
from src.cli import export
from src.command_line import StopSignals, UserError
from src.config import Base, Config, Data, DiffLogicOptions, Model
from src.evaluation.inference import load_circuit, load_model
from src.export.circuit_json import read_circuit_file
from src.export.verilog import count_width
from src.frame_cache.cache import read_split
from src.model import create_model
from src.registry import EXPORT_TARGETS
from tests import small_job
from tests.export.exports import need
from tests.export.test_blif import evaluated
from tests.export.test_circuit_json import changed
from tests.recordings import real_recordings
from tests.small_job import REPOSITORY

SHAPE = (2, 6, 6)


@pytest.fixture
def folder(tmp_path):
    """Storages with a job `gates` and a job `cnn` that have a best model each, and no cache."""
    gates = DiffLogicOptions(num_neurons=100, num_layers=2)
    for name, model_type in (("gates", "difflogic"), ("cnn", "cnn")):
        data = Data(crop=(0, 0, 6, 6))
        config = Config(base=Base(job_id=name), data=data, model=Model(model_type, gates))
        torch.manual_seed(0)
        model = create_model(config.model, SHAPE, 2)
        described = {"config": config.to_dict(), "class_names": ["a", "b"], "input_shape": list(SHAPE), "step": 1}
        described |= {"temperature": 1.0, "frames": "", "debug": None}
        checkpoint.save_model(tmp_path / f"project/models/{name}/best.safetensors", model, described)
    return tmp_path


def test_a_job_is_exported_beside_its_models(folder):
    output = small_job.run(folder, "src/cli", "export", "gates", "--to", "json")
    file = read_circuit_file(folder / "project/models/gates/export/gates.json")
    assert (
        f"wrote gates.json to {folder}/project/models/gates/export: {len(file.circuit.gates)} gates, of 200" in output
    )
    assert file.description.class_names == ("a", "b")


def test_a_file_is_exported_to_the_folder_named(folder):
    words = ("project/models/gates/best.safetensors", "--to", "c", "--frames", "70", "--out", "here")
    assert "to be tested with 70 pseudo-random frames" in small_job.run(folder, "src/cli", "export", *words)
    frames, streams = (["gates.c", "gates_selftest.c"], ["gates_stream.c", "gates_stream_selftest.c"])
    assert sorted(path.name for path in (folder / "here").iterdir()) == sorted(
        [*frames, *streams, "gates.h", "gates_stream.h"]
    )
    if shutil.which("gcc"):
        subprocess.run(["gcc", *frames], cwd=folder / "here", check=True)
        assert subprocess.check_output("./a.out", cwd=folder / "here", text=True).startswith("gates: 70 of 70")
        subprocess.run(["gcc", *streams], cwd=folder / "here", check=True)
        output = subprocess.check_output("./a.out", cwd=folder / "here", text=True)
        assert output.endswith("10 of 10 recordings the expected class\n")


@pytest.mark.parametrize("kind", list(EXPORT_TARGETS))
def test_an_export_does_not_replace_that_of_a_job_with_the_same_file_names(folder, monkeypatch, kind):
    for variable in ("project", "scratch"):
        monkeypatch.setenv(f"{variable.upper()}_STORAGE_DIR", str(folder / variable))
    for job in ("a-b", "a.b"):
        model, about = load_model(folder / "project/models/gates/best.safetensors")
        about["config"]["base"]["job_id"] = job
        checkpoint.save_model(folder / f"project/models/{job}/best.safetensors", model, about)

    def exported(job):
        words = {"job": job, "model": None, "to": kind, "out": str(folder / "out"), "frames": 3}
        words |= {"levels_per_stage": None, "estimate": None, "synthesize": None}
        export.run(argparse.Namespace(**words), StopSignals())
        return {path.name: path.read_bytes() for path in (folder / "out").rglob("*.*")}

    first = exported("a-b")
    with pytest.raises(UserError, match=r"/out/a_b.* is the export of a-b, which this one of a\.b would replace"):
        exported("a.b")
    assert exported("a-b") == first


@pytest.mark.parametrize("kind", ["c", "verilog", "rtl", "json"])
def test_a_circuit_s_file_is_exported_as_its_job_is(folder, monkeypatch, kind):
    for variable in ("project", "scratch"):
        monkeypatch.setenv(f"{variable.upper()}_STORAGE_DIR", str(folder / variable))

    def exported(out, to=kind, job=None, model=None):
        words = {"job": job, "model": model, "to": to, "out": str(folder / out), "frames": 20}
        words |= {"levels_per_stage": None, "estimate": None, "synthesize": None}
        export.run(argparse.Namespace(**words), StopSignals())
        return {path.relative_to(folder / out): path.read_bytes() for path in (folder / out).rglob("*.*")}

    exported("circuit", to="json", job="gates")
    circuit = folder / "circuit/gates.json"
    of_job = exported("a", job="gates")
    assert exported("b", model=str(circuit)) == of_job
    circuit.write_bytes(changed(circuit.read_bytes(), name="other"))
    renamed = exported("c", model=str(circuit))
    assert sorted(map(str, renamed)) == sorted(str(path).replace("gates", "other") for path in of_job)


def test_options_that_cannot_stream_leave_out_the_program_that_takes_events(folder, monkeypatch):
    for variable in ("project", "scratch"):
        monkeypatch.setenv(f"{variable.upper()}_STORAGE_DIR", str(folder / variable))
    model, about = load_model(folder / "project/models/gates/best.safetensors")
    about["config"]["data"]["stabilize"] = True
    checkpoint.save_model(folder / "project/models/gates/best.safetensors", model, about)
    output = small_job.run(folder, "src/cli", "export", "gates", "--to", "c", "--out", "here")
    assert (
        "without gates_stream, which takes events: data.stabilize = true: such frames need all events of a recording, "
        "or their place in it, so no stream of events gives them; train with data.stabilize=false"
    ) in output
    assert sorted(path.name for path in (folder / "here").iterdir()) == ["gates.c", "gates.h", "gates_selftest.c"]


BAD = [
    (("cnn", "--to", "c"), "a CNN is no circuit of gates"),
    (("gates", "--to", "c", "--levels-per-stage", "4"), "--levels-per-stage needs --to rtl, which alone divides"),
    (("gates", "--to", "c", "--out", "/proc/nowhere"), "/proc/nowhere: cannot write there"),
    (("nobody", "--to", "onnx"), "there is no job nobody"),
    (("damaged.safetensors", "--to", "json"), "damaged.safetensors: cannot read the model"),
    (("--model", "damaged.json", "--to", "c"), "damaged.json: this is no circuit that can be read: it is no JSON"),
]


SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in BAD[1:]]  # tests/test_inference.py has more, faster


@pytest.mark.parametrize(("words", "message"), [BAD[0], *SLOW])
def test_bad_input_is_told_in_one_line(folder, words, message):
    for suffix in ("safetensors", "json"):
        (folder / f"damaged.{suffix}").write_bytes(b"1234567890:")
    before = sorted(folder.rglob("*"))
    output = small_job.run(folder, "src/cli", "export", *words, expect=2)
    assert message in output
    assert len(output.splitlines()) == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gates", "--to", "vhdl"), "invalid choice"),
        (("--to", "c"), "no model: a job comes first, or --model FILE"),
        (("gates", "--model", "a.json", "--to", "c"), "job gates and --model a.json are two models: leave one out"),
        (("gates", "--to", "c", "--frames", "0"), "expected a number from 1"),
        (("gates", "--to", "c", "--estimate", "xilinx"), "--estimate needs --to verilog or rtl"),
        (("gates", "--to", "blif", "--estimate", "ice40"), "--estimate needs --to verilog or rtl"),
        (("gates", "--to", "json", "--synthesize", "all"), "--synthesize needs --to verilog or rtl"),
    ],
)
def test_impossible_arguments(folder, words, message):
    assert message in small_job.run(folder, "src/cli", "export", *words, expect=2)


REAL = real_recordings()
DATASETS = {
    "demo": ["configs/demo_difflogic.yaml", "train.epochs=3 model.difflogic.num_neurons=4000"],
    "nmnist": [
        "configs/nmnist_difflogic.yaml",
        f"data.data_root={REAL[0].parents[3] if REAL else None} train.epochs=30 train.device=cpu",
    ],
}


# Networks of truth tables: dense ones of six inputs, and trees of four inputs.
TABLES = {
    "luts6": ["fan_in=6", "num_neurons=600", "connections=learned"],
    "luts4": [
        "fan_in=4",
        "num_neurons=1500",
        "architecture=convolutional",
        "convolution.kernels=[4]",
        "convolution.receptive_field=3",
        "convolution.tree_depth=1",
        "convolution.pooling=2",
    ],
}


@pytest.fixture(scope="module", params=DATASETS)
def trained(request, tmp_path_factory):
    """A folder with jobs difflogic, cnn and mlp, trained on a dataset, and all frames of its test split."""
    if request.param == "nmnist" and not REAL:
        pytest.skip("no N-MNIST recordings")
    folder = tmp_path_factory.mktemp(request.param)
    config, options = DATASETS[request.param]
    config = str(REPOSITORY / config)
    small_job.run(folder, "prepare_data.py", config, "--override", options)
    small_job.run(folder, "main.py", config, "--job_id=difflogic", "--override", options)
    for name in ("cnn", "mlp"):
        short = f"{options} model.model_type={name} train.learning_rate=0.001 train.epochs=1"
        small_job.run(folder, "main.py", config, f"--job_id={name}", "--override", short)
    for name, own in TABLES.items():
        words = " ".join(f"model.difflogic.{option}" for option in (*own, "parametrisation=light", "num_layers=2"))
        small_job.run(folder, "main.py", config, f"--job_id={name}", "--override", f"{options} train.epochs=2 {words}")
    (manifest,) = folder.glob("scratch/data/*/*/manifest.json")
    return folder, np.array(read_split(manifest.parent, "test").frames)


def file_of(folder, job):
    return folder / "project" / "models" / job / "best.safetensors"


def scores_of_model(folder, job, frames):
    model, _ = load_model(file_of(folder, job))
    with torch.no_grad():
        return model.forward_packed(torch.from_numpy(frames)).numpy()


def exported(folder, job, kind, frames=1_000_000):
    small_job.run(folder, "src/cli", "export", job, "--to", kind, "--frames", str(frames))
    return folder / "project" / "models" / job / "export"


@pytest.mark.slow
def test_a_circuit_s_file_predicts_every_test_recording_as_its_job_does(trained):
    folder, _ = trained
    (manifest,) = folder.glob("scratch/data/*/*/manifest.json")
    root = REPOSITORY / "data/DEMO/Test" if manifest.parents[1].name == "DEMO" else REAL[0].parents[2] / "Test"
    circuit = exported(folder, "difflogic", "json") / "difflogic.json"
    of_job, of_circuit = (
        small_job.run(folder, "src/cli", "predict", *model, str(root), "--csv")
        for model in (["difflogic"], ["--model", str(circuit)])
    )
    assert of_job.count("\n") > 50
    assert of_job == of_circuit


@pytest.mark.slow
def test_circuit_c_verilog_and_json_count_as_the_model_does_on_every_test_frame(trained):
    folder, frames = trained
    circuit = load_circuit(file_of(folder, "difflogic"))
    counts = circuit(frames)
    scores = scores_of_model(folder, "difflogic", frames)
    assert np.array_equal(counts.astype(np.float32) / np.float32(circuit.tau), scores)
    assert len(np.unique(scores.argmax(1))) > 5  # it has learned something: classes differ

    restored = read_circuit_file(exported(folder, "difflogic", "json") / "difflogic.json").circuit
    assert len(restored.gates) < len(circuit.gates)
    assert np.array_equal(restored(frames), counts)

    code = exported(folder, "difflogic", "c")
    for compiler in filter(shutil.which, ("gcc", "clang")):
        flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")
        subprocess.run([compiler, *flags, "difflogic.c", "difflogic_selftest.c", "-o", "test"], cwd=code, check=True)
        output = subprocess.check_output("./test", cwd=code, text=True)
        assert output == f"difflogic: {len(frames)} of {len(frames)} frames have the expected counts\n"
        stream = ["difflogic_stream.c", "difflogic_stream_selftest.c"]
        subprocess.run([compiler, *flags, *stream, "-o", "stream_test"], cwd=code, check=True)
        output = subprocess.check_output("./stream_test", cwd=code, text=True)
        assert output.endswith(" frames have the expected counts, 10 of 10 recordings the expected class\n")

    circuit_v = exported(folder, "difflogic", "verilog")
    if shutil.which("iverilog"):
        files = ("difflogic_classify.v", "difflogic_classify_test.v")
        subprocess.run(["iverilog", "-g2001", "-Wall", "-o", "simulation", *files], cwd=circuit_v, check=True)
        output = subprocess.check_output(["vvp", "simulation"], cwd=circuit_v, text=True)
        assert f"{len(frames)} of {len(frames)} frames" in output
        lines = (circuit_v / "difflogic_classify_outputs.hex").read_text().split()
        numbers = [int(line, 16) for line in lines]
        assert [number >> 10 * count_width(restored) for number in numbers] == scores.argmax(1).tolist()
    if shutil.which("verilator"):
        lint = ["verilator", "--lint-only", "-Wall", "difflogic_classify.v"]
        assert subprocess.check_output(lint, cwd=circuit_v, stderr=subprocess.STDOUT) == b""


@pytest.mark.slow
@pytest.mark.parametrize("job", TABLES)
def test_circuit_c_verilog_and_json_of_truth_tables_count_as_the_model_does(trained, job):
    folder, frames = trained
    circuit = load_circuit(file_of(folder, job))
    counts, scores = circuit(frames), scores_of_model(folder, job, frames)
    assert np.array_equal(counts.astype(np.float32) / np.float32(circuit.tau), scores)
    restored = read_circuit_file(exported(folder, job, "json") / f"{job}.json").circuit
    assert np.array_equal(restored(frames), counts)

    code = exported(folder, job, "c", frames=300)
    subprocess.run(["gcc", "-std=c99", "-O1", f"{job}.c", f"{job}_selftest.c", "-o", "test"], cwd=code, check=True)
    output = subprocess.check_output("./test", cwd=code, text=True)
    most = min(300, len(frames))
    assert output == f"{job}: {most} of {most} frames have the expected counts\n"
    if shutil.which("iverilog"):
        circuit_v = exported(folder, job, "verilog", frames=20)
        files = (f"{job}_classify.v", f"{job}_classify_test.v")
        subprocess.run(["iverilog", "-g2001", "-Wall", "-o", "simulation", *files], cwd=circuit_v, check=True)
        assert "20 of 20 frames" in subprocess.check_output(["vvp", "simulation"], cwd=circuit_v, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("job", TABLES)
def test_blif_counts_as_the_model_does_on_test_frames(trained, job):
    folder, frames = trained
    frames = frames[:300]
    circuit = load_circuit(file_of(folder, job))
    bits = np.unpackbits(frames, axis=1, count=circuit.num_inputs, bitorder="little")
    found = evaluated((exported(folder, job, "blif") / f"{job}_classify.blif").read_text(), bits)
    width = sum(name.startswith("count0[") for name in found)
    counts = [sum(found[f"count{c}[{i}]"].astype(int) << i for i in range(width)) for c in range(10)]
    assert np.array_equal(np.stack(counts, 1), circuit(frames))
    best = sum(found[f"best_class[{i}]"].astype(int) << i for i in range(4))
    assert np.array_equal(best, circuit(frames).argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("job", TABLES)
def test_streaming_hardware_gives_what_the_model_gives_on_test_recordings(trained, job):
    need("iverilog")
    folder, _ = trained
    small_job.run(folder, "src/cli", "export", job, "--to", "rtl", "--frames", "5")
    made = subprocess.run(
        ["make", "icarus"], cwd=folder / f"project/models/{job}/export/{job}_rtl", capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "PASSED" in made.stdout


@pytest.mark.slow
@pytest.mark.parametrize("job", ["difflogic", *TABLES, "cnn", "mlp"])
def test_onnx_scores_as_the_model_does_on_every_test_frame(trained, job):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder, frames = trained
    session = onnxruntime.InferenceSession(exported(folder, job, "onnx") / f"{job}.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    _, *shape = session.get_inputs()[0].shape
    bits = np.unpackbits(frames, axis=1, count=math.prod(shape), bitorder="little").reshape(-1, *shape)
    (found,) = session.run(["scores"], {"frames": bits.astype(np.float32)})
    expected = scores_of_model(folder, job, frames)
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    assert np.abs(found - expected).max() <= (1e-5 if job in ("cnn", "mlp") else 0)
