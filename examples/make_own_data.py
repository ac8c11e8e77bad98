"""Writes scikit-learn's breast-cancer data as three Parquet files: python examples/make_own_data.py"""

from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

rows = load_breast_cancer(as_frame=True).frame
rest, test = train_test_split(rows, test_size=0.2, stratify=rows["target"], random_state=0)
train, validation = train_test_split(rest, test_size=0.2, stratify=rest["target"], random_state=0)
folder = Path(__file__).parent / "data"
folder.mkdir(exist_ok=True)
for name, part in {"train": train, "validation": validation, "test": test}.items():
    features = ((part - train.mean()) / train.std()).drop(columns="target")
    table = pd.DataFrame({"features": list(features.to_numpy("float32")), "label": part["target"]})
    table.to_parquet(folder / f"{name}.parquet", index=False)
