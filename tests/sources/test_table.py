"""The table of sources: plain data that holds together."""

import re

import pytest

from wholegpt import paper
from wholegpt.errors import UsageError
from wholegpt.sources.table import ALIASES, HUB, SOURCES, hosts_of, resolve


def test_every_entry_is_whole():
    for name, source in SOURCES.items():
        assert source.what and source.licence and source.hosts, name
        assert len({host.name for host in source.hosts}) == len(source.hosts)
        for host in source.hosts:
            assert host.name == HUB or host.address.endswith("/") or all(file.url for file in host.files)
            assert len({file.name for file in host.files}) == len(host.files)
            for file in host.files:
                assert "/" not in file.name and not file.name.startswith(".")
                assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)


def test_every_size_of_the_paper_is_published_by_both():
    for size, folder in zip(paper.SIZES, ("124M", "355M", "774M", "1558M"), strict=True):
        at_hub, at_openai = hosts_of(size.name)
        assert (at_hub.name, at_hub.address) == ("hub", f"openai-community/{size.name}")
        assert at_openai.address == f"https://openaipublic.blob.core.windows.net/gpt-2/models/{folder}/"
        assert "model.safetensors" in {file.name for file in at_hub.files}
        assert "model.ckpt.meta" not in {file.name for file in at_openai.files}
        assert resolve(folder) == resolve(size.paper_name) == size.name


def test_names():
    assert set(ALIASES.values()) == set(SOURCES) - {"gpt2-vocab"}
    assert [resolve(name) for name in ("gpt2-xl", "small", "1.5B", "345M")] == [
        "gpt2-xl",
        "gpt2",
        "gpt2-xl",
        "gpt2-medium",
    ]
    with pytest.raises(UsageError, match=r"gpt2-lrage is no source; did you mean gpt2-large\?"):
        resolve("gpt2-lrage")
    with pytest.raises(UsageError, match="gpt2-vocab is not published by hub, but by openai"):
        hosts_of("gpt2-vocab", "hub")
