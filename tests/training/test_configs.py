"""Every choice of every group composes and makes what it describes."""

from pathlib import Path

import pytest

from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.training.builder import build_run

CONF = Path(__file__).parents[2] / "conf"
GROUPS = [
    "model",
    "stems",
    "augmentation",
    "loss",
    "optimizer",
    "scheduler",
    "trainer",
    "strategy",
    "logger",
    "callbacks",
]
LAYOUTS = {"musdb18", "folders"}  # read other trees than the songs of these tests; composed only


def _choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize(("group", "choice"), [(g, c) for g in GROUPS for c in _choices(g)])
def test_every_choice_can_be_built(config, tmp_path, group, choice):
    overrides = [f"{group}={choice}", "trainer.accelerator=cpu", "trainer.devices=1"]
    if choice == "wandb":
        overrides.append("logger.wandb.offline=true")
    run = build_run(config(*overrides, small=False), tmp_path)
    run.module.trainer = run.trainer
    assert run.module.configure_optimizers()["optimizer"].param_groups[0]["params"]


@pytest.mark.parametrize("choice", _choices("data"))
def test_every_data_choice_names_its_root_and_kind(config, choice):
    data = config(f"data={choice}", small=False)["data"]
    assert data["kind"]
    assert data["seconds"] > 0


@pytest.mark.parametrize("experiment", _choices("experiment"))
def test_every_experiment_can_be_built(config, tmp_path, experiment):
    run = build_run(config(f"experiment={experiment}", "data.make=null", small=False), tmp_path)
    assert run.trainer.max_epochs


@pytest.mark.parametrize(
    ("stems", "names", "covers"),
    [
        ("vocals", ("vocals",), False),
        ("vocals_accompaniment", ("vocals", "accompaniment"), True),
        ("four", ("vocals", "drums", "bass", "other"), True),
        ("[bass,drums]", ("bass", "drums"), False),
        ("[drums,rest]", ("drums", "rest"), True),
    ],
)
def test_stems(config, tmp_path, stems, names, covers):
    run = build_run(config(f"stems={stems}"), tmp_path)
    assert run.module.model.stems == names
    assert run.module.model.model_config.sums_to_mixture == covers
    batch = next(iter(run.data.train_dataloader()))
    assert batch.shape == (2, len(names) + (not covers), 2, 8_820)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["+stems.guitar=[guitar]"], ConfigError, r"guitar"),
        (["+data.path=x"], ConfigError, r"unknown key data\.path"),
        (["+model.network.depth=3"], ConfigError, r"unknown key model\.network\.depth \(did you mean depths\?\)"),
        (["+seeds=3"], ConfigError, r"unknown key config\.seeds \(did you mean seed\?\)"),
        (["optimizer.name=sgdx"], ConfigError, r"unknown optimizer 'sgdx': expected one of adamw, adam"),
        (["+optimizer.momentum=1"], ConfigError, r"optimizer\.adamw: .*momentum"),
        (["scheduler.name=poly"], ConfigError, r"unknown scheduler 'poly'"),
        (["+scheduler.power=2"], ConfigError, r"scheduler\.cosine got unknown power: it takes warmup_steps, floor"),
        (["strategy.precision=fp7"], ConfigError, r"trainer/strategy: .*fp7"),
        (["resume=/nowhere/last.ckpt"], ConfigError, r"resume=/nowhere/last\.ckpt: no such checkpoint"),
        (["data.root=/nowhere"], DataError, r"/nowhere.*data\.root=.*data=synthetic"),
    ],
)
def test_mistakes_are_refused_before_training(config, tmp_path, overrides, error, message):
    with pytest.raises(error, match=message) as caught:
        build_run(config(*overrides), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
