from tfswa_unet.cli import main


def test_synth_makes_songs_and_says_how_to_train(tmp_path, capsys):
    out = tmp_path / "songs"
    assert main(["data", "synth", str(out), "--tracks", "1", "--seconds", "1", "--seed", "5", "--workers", "1"]) == 0
    assert (out / "train" / "song-0001" / "mixture.wav").is_file()
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == f"1 song in {out}; train on them: python train.py data.root={out}"


def test_a_refusal_is_one_line(tmp_path, capsys):
    assert main(["data", "synth", str(tmp_path / "songs"), "--seconds", "0"]) == 1
    assert capsys.readouterr().err == "error: a synthetic song of 0 s cannot be made; give at least 1 s\n"
