"""Any single write may fail, or many in a row: no job is lost, started twice or charged, and one line says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.writes import Fault, wrong

# The first operations make the directories and the database, those in the middle launch and record, the last leave.
FAULTS = [
    *(Fault("submit", at, error) for at, error in ((3, "ENOSPC"), (150, "EDQUOT"))),
    *(Fault("run", at, error, times) for at, error, times in ((8, "ENOSPC", 3), (60, "EROFS", 1), (200, "EDQUOT", 1))),
    *(Fault("run", at, error, times) for at, error, times in ((230, "ENOSPC", 30), (255, "EIO", 1))),
    Fault("serve", 180, "ENOSPC", 30),
    Fault("restore", 94, "EIO"),
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_write_that_fails_loses_no_job_and_charges_none(fault: Fault, tmp_path: Path) -> None:
    assert list(wrong(fault, tmp_path)) == []
