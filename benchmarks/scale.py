"""From one image to a billion: the tables of docs/scale.md, computed from measured and from assumed constants.

`python benchmarks/scale.py` prints them; `--write` puts them into the page. A test keeps page and constants together.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
HOUR_S, DAY_S = 3600.0, 86_400.0


@dataclass(frozen=True)
class Measured:
    """On 2 shared cores of a 2.x GHz server, no GPU; CPU seconds, one thread. Names are explained in `WHERE`."""

    read_s: float = 0.009
    sift_features_s: float = 0.379
    sift_pair_s: float = 0.744
    mast3r_forward_pair_s: float = 9.26
    mast3r_match_pair_s: float = 1.55
    lidar_anchor_s: float = 0.030
    solve_anchor_s: float = 0.042
    store_s: float = 0.0022
    postgis_bytes: float = 3963.0
    geopackage_bytes: float = 4414.0
    tokens_bytes: float = 3.15e6
    harvest_images_per_s: float = 58.4
    stored_results_per_s: float = 6800.0


WHERE = {
    "read_s": "decode a photo of 0.47 Mpx; KITTI raw 0002, n = 17",
    "sift_features_s": "SIFT, 8,000 features at most, of a photo of 0.47 Mpx; n = 20 images",
    "sift_pair_s": "match two such photos, both ways, exhaustive; n = 17 queries × 3 anchors",
    "mast3r_forward_pair_s": "MASt3R, 512×384, fp32, CPU, k = 8, encoder included; median of 2 runs, spread < 10 %",
    "mast3r_match_pair_s": "reciprocal matching of such a pair; same run",
    "lidar_anchor_s": "scan → depth map of an anchor, once per anchor; n = 3",
    "solve_anchor_s": "verify, lift, joint solve, covariance, gate, per anchor; n = 17 queries × 3 anchors",
    "store_s": "encode and store a result in a GeoPackage; n = 17",
    "postgis_bytes": "photo, result, 8 pairs and a quarter of an anchor with indexes in PostGIS; n = 4,000",
    "geopackage_bytes": "the same in a GeoPackage; n = 4,000",
    "tokens_bytes": "MASt3R tokens of a photo: 768 patches × 1024 numbers × 4 bytes (arithmetic; half of it in bf16)",
    "harvest_images_per_s": "harvest from a fake server on the same machine; 46.5–73.9, n = 3",
    "stored_results_per_s": "100,000 results into PostGIS, one writer; n = 1",
}


@dataclass(frozen=True)
class Assumed:
    """Not measured. Prices: order of public list prices of large clouds, November 2026; put your own in."""

    anchors_per_image: float = 5.0
    anchors_per_photo: float = 0.25
    photo_bytes: float = 0.6e6
    gpu_forward_pair_s: float = 0.008
    gpu_match_pair_s: float = 0.003
    utilisation: float = 0.7
    core_hour_usd: float = 0.04
    gpu_hour_usd: float = 4.0
    object_gb_month_usd: float = 0.023
    database_gb_month_usd: float = 0.23
    database_overhead: float = 2.0


WHY = {
    "anchors_per_image": "k: anchors matched with each photo",
    "anchors_per_photo": "distinct anchors ÷ photos: each anchor is described once, then shared",
    "photo_bytes": "a street photo of 2048 px as JPEG",
    "gpu_forward_pair_s": "**target** for an H200, bf16, k = 16; never measured",
    "gpu_match_pair_s": "**target** for an H200; never measured",
    "utilisation": "share of paid time that computes",
    "core_hour_usd": "a virtual core with 4 GB",
    "gpu_hour_usd": "an H200",
    "object_gb_month_usd": "object storage",
    "database_gb_month_usd": "replicated SSD of a managed database",
    "database_overhead": "dead rows, write-ahead log, two generations of results",
}
M, A = Measured(), Assumed()


@dataclass(frozen=True)
class Cost:
    """Of one image. core_s: CPU seconds; gpu_s: GPU seconds."""

    name: str
    core_s: float
    gpu_s: float = 0.0

    def usd_per_1000(self) -> float:
        """Computing only."""
        paid = self.core_s * A.core_hour_usd + self.gpu_s * A.gpu_hour_usd
        return 1000 * paid / HOUR_S / A.utilisation

    def cores(self, images: float, days: float) -> float:
        """Cores that are busy for so many days."""
        return self.core_s * images / (days * DAY_S * A.utilisation)

    def gpus(self, images: float, days: float) -> float:
        """The same for GPUs."""
        return self.gpu_s * images / (days * DAY_S * A.utilisation)


def costs() -> list[Cost]:
    """Per image, by matcher. Anchors are shared; whatever is per pair is paid k times."""
    k, described = A.anchors_per_image, 1.0 + A.anchors_per_photo
    common = described * M.read_s + A.anchors_per_photo * M.lidar_anchor_s + k * M.solve_anchor_s + M.store_s
    return [
        Cost("SIFT, CPU", common + described * M.sift_features_s + k * M.sift_pair_s),
        Cost("MASt3R, CPU", common + k * (M.mast3r_forward_pair_s + M.mast3r_match_pair_s)),
        Cost("MASt3R, H200 (target)", common, k * (A.gpu_forward_pair_s + A.gpu_match_pair_s)),
    ]


def tables() -> dict[str, str]:
    """Markdown by the name of its place in the page."""
    return {
        "measured": _constants(M, WHERE),
        "assumed": _constants(A, WHY),
        "per image": _per_image(),
        "machines": _machines(),
        "storage": _storage(),
    }


def _constants(values: Measured | Assumed, meaning: dict[str, str]) -> str:
    rows = [f"| `{f.name}` | {getattr(values, f.name):,g} | {meaning[f.name]} |" for f in fields(values)]
    return _table(["constant", "value", "what"], rows)


def _per_image() -> str:
    rows = [f"| {c.name} | {c.core_s:.2f} | {c.gpu_s * 1000:.0f} | {c.usd_per_1000():.3f} |" for c in costs()]
    return _table(["matcher", "core seconds", "GPU milliseconds", "US$ per 1,000 images"], rows)


def _machines() -> str:
    rows = []
    for images, days in ((1e6, 1.0), (1e9, 30.0)):
        for c in costs():
            usd = c.usd_per_1000() * images / 1000
            gpus = f"{c.gpus(images, days):,.1f}" if c.gpu_s else "–"
            rows.append(
                f"| {images:,.0f} in {days:g} d | {c.name} | {c.cores(images, days):,.0f} | {gpus} | {usd:,.0f} |"
            )
    return _table(["images", "matcher", "cores", "H200", "US$ (computing)"], rows)


def _storage() -> str:
    rows = []
    for what, n_bytes, price in (
        ("photos, 2048 px", A.photo_bytes, A.object_gb_month_usd),
        ("PostGIS, with overhead", M.postgis_bytes * A.database_overhead, A.database_gb_month_usd),
        ("MASt3R tokens of the anchors, fp32", A.anchors_per_photo * M.tokens_bytes, A.object_gb_month_usd),
        ("MASt3R tokens of everything, fp32", (1 + A.anchors_per_photo) * M.tokens_bytes, A.object_gb_month_usd),
    ):
        cells = [f"{n_bytes * images / 1e12:,.3g} TB, {n_bytes * images / 1e9 * price:,.0f}" for images in (1e6, 1e9)]
        rows.append(f"| {what} | {cells[0]} | {cells[1]} |")
    return _table(["what", "1 M images: size, US$ a month", "1 B images: size, US$ a month"], rows)


def _table(head: list[str], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows])


def filled(page: str) -> str:
    """The page with fresh tables between `<!-- table: NAME -->` and the next blank line."""
    for name, table in tables().items():
        mark = f"<!-- table: {name} -->\n"
        before, _, after = page.partition(mark)
        page = before + mark + table + "\n\n" + after.partition("\n\n")[2]
    return page


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    options.add_argument("--quick", action="store_true", help="as for the other benchmarks; nothing takes long here")
    if options.parse_args().write:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    for name, table in tables().items():
        print(f"{name}\n{table}\n")


if __name__ == "__main__":
    main()
