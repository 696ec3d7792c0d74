"""What is checked before a job is submitted."""

import pytest

from helper_scripts.check_jobs import check
from src.command_line import UserError


def test_each_of_several_mistakes_names_the_job(tmp_path):
    (tmp_path / "a.yaml").write_text("train: {epochs: x}\nmodle: {}")
    with pytest.raises(UserError) as error:
        check("train.sh", str(tmp_path / "a.yaml"), "a_job")
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("job a_job: ") for line in lines)
