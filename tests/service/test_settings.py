"""What a service is told on its command line."""

from __future__ import annotations

import pytest

from tfswa_unet.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["limits.secnds=3"], "limits.secnds"),
        (["limits.seconds"], "KEY=VALUE"),
        (["limits.seconds=-1"], "limits.seconds is -1"),
        (["limits.seconds=long"], "limits.seconds is 'long'"),
        (["keep_hours=0"], "keep_hours=0"),
        (["--port", "70000"], "port is 70000"),
        (["--model", "nothing.safetensors"], "nothing.safetensors: no such bundle"),
        (["--host", "0.0.0.0"], "--add-token"),
        (["--host", "300.1.1.1", "open=true"], "cannot be listened on"),
        (["database=mysql://none"], "cannot be used"),
        (["results=memory://stems"], "memory is of one"),
        (["results=nowhere://stems"], "nowhere://stems cannot be opened"),
        (["results=/proc/stems"], "the results cannot be kept: /proc/stems cannot be written"),
        (["url_hosts=['*.org']"], "url_hosts has '*.org'"),
        (["url_networks=[home]"], "url_networks has what is no network"),
        (["--remove-token", "none"], "no token named"),
    ],
)
def test_what_cannot_work_is_told_in_one_sentence(arguments, said, tmp_path, capsys):
    assert main(["serve", "--data", str(tmp_path / "data"), *arguments]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("error: ")
    assert "Traceback" not in told
