"""Mapped once per node, whoever asks first; and the three tables of a task."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainables.data.table import Table

OPEN = """
import json, sys, time
from pathlib import Path
from trainables.data.convert import mapped_file
cache = Path(sys.argv[2])
while not (cache / "go").exists():
    time.sleep(0.001)
path = mapped_file(sys.argv[1], cache)
print(json.dumps({"path": str(path), "inode": path.stat().st_ino, "torch": "torch" in sys.modules}))
"""


def test_processes_that_start_together_convert_once_and_share_the_file(tmp_path):
    values = np.arange(300_000)
    pq.write_table(pa.table({"x": values}), tmp_path / "x.parquet")
    command = [sys.executable, "-c", OPEN, str(tmp_path / "x.parquet"), str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    (tmp_path / "go").touch()
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in started]
    assert answers == 4 * [answers[0]]  # a second conversion would have replaced the file by one with another inode
    assert not answers[0]["torch"]
    assert Table.map(Path(answers[0]["path"])).column("x").sum().item() == values.sum()
