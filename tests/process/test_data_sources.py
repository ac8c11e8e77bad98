"""Where data may lie, and what stands for its content."""

import subprocess
import sys


def test_planning_imports_nothing_heavy():
    code = (
        "import sys; from trainables.tasks.catalog import BUILTIN; from trainables.tasks import TaskError, load_task;"
        "from trainables.data.fingerprint import fingerprint; from trainables.data.sources import DataError;"
        "[(task.fingerprint(), task.train_rows()) for task in BUILTIN.values()]; fingerprint(sys.argv[1]);"
        "heavy = {'torch', 'numpy', 'pyarrow', 'pandas', 'sklearn', 'ray', 'mlflow'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, __file__], check=True)
