"""`mesh store repair` on the folder of a real Valkey that was killed."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import RunMesh
from tests.fakes.valkey import running_valkey


async def test_repair_says_what_it_cuts_and_what_is_lost(tmp_path: Path, run: RunMesh) -> None:
    state = tmp_path / "state"
    state.mkdir(0o700)
    arguments = ("store", "repair", "--state", str(state))
    assert (await run(*arguments)).code == 2, "there is no store yet"
    with running_valkey(state) as valkey, valkey.client() as client:
        client.set("mesh:revision", 3)
        assert "the store is running: stop it" in (await run(*arguments)).err
    (state / "revision").write_text("4\n")
    assert "the store is not damaged" in (await run(*arguments)).out
    log = state / "store" / "appendonlydir" / "appendonly.aof.1.incr.aof"
    with log.open("ab") as file:
        file.write(b"\xff" * 99)
    damaged = log.read_bytes()
    refused = await run(*arguments, text="n\n")
    assert (refused.code, refused.err) == (1, "nothing was changed\n")
    assert "99 bytes are lost" in refused.out
    assert log.read_bytes() == damaged
    result = await run(*arguments, "--yes")
    assert result.code == 0
    assert "the newest revision is 3\n" in result.out
    assert f"revision 4 is lost: to go on with 3, run `rm {state}/revision`" in result.out
    assert log.read_bytes() == damaged[:-99]
    assert [file.read_bytes() for file in log.parent.glob("*.damaged-*")] == [damaged]
