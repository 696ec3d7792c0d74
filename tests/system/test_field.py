"""Each dataset of the field: its shipped configs prepare it and train on it."""

import pytest

from tests import small_job
from tests.events.datasets import stand_ins

PREPARATION = {
    "DVSGESTURE": "",
    "NCALTECH101": "data.events_per_frame=500",
    "ASLDVS": "data.events_per_frame=500 data.overlap=0",
    "NCARS": "",
    "POKERDVS": "",
}
TRAINING = "train.epochs=1 train.device=cpu train.report=false"


def has_trained(folder, name, preparation=""):
    root = f"data.data_root={folder / 'data'} data.num_threads=1 {PREPARATION[name]} {preparation}".strip()
    configs = small_job.REPOSITORY / "configs"
    small_job.run(folder, "prepare_data.py", str(configs / f"prepare_{name.lower()}.yaml"), "--override", root)
    config = str(configs / f"{name.lower()}_difflogic.yaml")
    output = small_job.run(folder, "main.py", config, "--job_id=first", "--override", f"{root} {TRAINING}")
    return "test, final model:" in output


@pytest.mark.slow
@pytest.mark.parametrize("name", stand_ins.NAMES)
def test_the_shipped_configs_prepare_a_dataset_and_train_on_it(tmp_path, name):
    stand_ins.write(name, tmp_path / "data", per_class=3, events=1000)
    assert has_trained(tmp_path, name)


@pytest.mark.slow
def test_they_do_so_with_dvs_gesture_as_ibm_distributes_it(tmp_path):
    people = {"user01": False, "user02": False, "user03": False, "user24": True}
    stand_ins.write_original_gestures(tmp_path / "data", people, events=2000)
    assert has_trained(tmp_path, "DVSGESTURE", "data.val_split=0.3")
