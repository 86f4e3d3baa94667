"""The cache: content-addressed, bounded, shared by processes, never trusted blindly."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from support.store_world import entry, key_of, write_and_read

from geocorrect.networks.store import StoreLimits, TensorStore, content_key


def test_keys_follow_content_shape_and_dependencies() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert content_key(image, "a") == content_key(image.copy(), "a")
    keys = {
        content_key(image, "a"),
        content_key(image, "b"),
        content_key(image, "a", "b"),
        content_key(image, "ab"),
        content_key(image.reshape(4, 2, 3), "a"),
        content_key(image[:, ::-1], "a"),
    }
    assert len(keys) == 6


def test_memory_forgets_the_least_recently_used() -> None:
    store = TensorStore(limits=StoreLimits(memory_bytes=3 * 1024))
    for number in range(3):
        store.put(key_of(number), entry(number))
    assert store.get(key_of(0)) is not None
    store.put(key_of(3), entry(3))
    assert [store.get(key_of(number)) is not None for number in range(4)] == [True, False, True, True]
    store.put(key_of(9), entry(9, kilobytes=4))  # larger than everything: not kept, nothing else lost
    assert store.get(key_of(9)) is None
    assert store.get(key_of(0)) is not None


def test_replacing_an_entry_does_not_leak_memory() -> None:
    store = TensorStore(limits=StoreLimits(memory_bytes=2 * 1024))
    for _ in range(10):
        store.put(key_of(0), entry(0))
    store.put(key_of(1), entry(1))
    assert store.get(key_of(0)) is not None


def test_another_process_reads_what_one_wrote(tmp_path: Path) -> None:
    written = {"tokens": torch.randn(5, 3).to(torch.bfloat16), "size": torch.tensor([3, 4])}
    TensorStore(tmp_path).put(key_of(0), written)
    read = TensorStore(tmp_path).get(key_of(0))
    assert read is not None
    assert torch.equal(read["tokens"], written["tokens"])
    assert torch.equal(read["size"], written["size"])
    assert TensorStore(tmp_path).get(key_of(1)) is None


@pytest.mark.parametrize("damage", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{broken", b"x" * 3000])
def test_a_damaged_entry_counts_as_absent_and_is_removed(tmp_path: Path, damage: bytes) -> None:
    TensorStore(tmp_path).put(key_of(0), entry(1))
    (path,) = tmp_path.rglob("*.tensors")
    path.write_bytes(damage)
    store = TensorStore(tmp_path)
    assert store.get(key_of(0)) is None
    assert not path.exists()
    store.put(key_of(0), entry(2))
    again = TensorStore(tmp_path).get(key_of(0))
    assert again is not None
    assert again["value"][0] == 2


@pytest.mark.long
def test_disk_is_bounded_and_keeps_the_recently_used(tmp_path: Path) -> None:
    limit = 64 * 1024
    store = TensorStore(tmp_path, StoreLimits(memory_bytes=0, disk_bytes=limit))
    for number in range(110):
        store.put(key_of(number), entry(number))
        assert store.get(key_of(0)) is not None, "an entry in use was dropped"
        total = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        assert total <= limit
        _age(tmp_path, except_for=store, by_s=1)
    assert 20 < len(list(tmp_path.rglob("*.tensors"))) < 64


def _age(folder: Path, except_for: TensorStore, by_s: float) -> None:
    """Let time pass for every entry; file systems may not tell accesses within a millisecond apart."""
    for path in folder.rglob("*.tensors"):
        status = path.stat()
        os.utime(path, (status.st_atime - by_s, status.st_mtime - by_s))


def test_an_unwritable_folder_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    store = TensorStore(blocked)
    store.put(key_of(0), entry(0))
    assert store.get(key_of(0)) is not None
    assert TensorStore(blocked).get(key_of(0)) is None


@pytest.mark.long
def test_concurrent_writers_never_show_a_wrong_or_half_entry(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(key_of, 0).result()  # it has started and imported torch
        other = pool.submit(write_and_read, str(tmp_path), 0)
        assert write_and_read(str(tmp_path), 1) == other.result() == 0
    assert not list(tmp_path.rglob("*.part")), "an unfinished file was left behind"


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = TensorStore(tmp_path, StoreLimits(memory_bytes=4 * 1024, disk_bytes=1 << 20))
    wrong: list[int] = []

    def work(seed: int) -> None:
        for step in range(80):
            number = (seed + step) % 12
            store.put(key_of(number), entry(number))
            found = store.get(key_of(number))
            if found is None or float(found["value"][0]) != number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
