"""Derive the yeast table of this folder from the wheel of `river`.

    pip download --no-deps river==0.26.1
    python data/yeast/derive.py river-0.26.1-*.whl

Same input, same bytes (for one version of pyarrow, whose name is in the Parquet file).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MEMBER = "river/datasets/yeast.csv.gz"
N_FEATURES, N_LABELS = 103, 14


def derive(wheel: Path) -> pa.Table:
    """Features as float32 (the file has six decimals) and labels as booleans."""
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member, gzip.open(member, "rt") as file:
        table = pd.read_csv(file)
    if table.shape != (2417, N_FEATURES + N_LABELS) or table.isna().any(axis=None):
        raise ValueError(f"{wheel}: a table of {table.shape}, or with gaps")
    features, labels = table.columns[:N_FEATURES], table.columns[N_FEATURES:]
    columns = {name: pa.array(table[name].to_numpy("float32")) for name in features}
    columns |= {name: pa.array(table[name].to_numpy("bool")) for name in labels}
    return pa.table(columns)


def main() -> None:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write (default: this one)")
    arguments = parser.parse_args()
    target = arguments.out / "yeast.parquet"
    pq.write_table(derive(arguments.wheel), target, compression="zstd", compression_level=19, write_statistics=False)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    (arguments.out / "SHA256SUMS").write_text(f"{digest}  {target.name}\n")
    print(f"{target.stat().st_size:,} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
