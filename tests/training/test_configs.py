"""Every choice of every group composes and makes what it describes."""

import itertools
from pathlib import Path

import pytest
import torch
import yaml

from tests.training.conftest import SMALL
from tfswa_unet import models
from tfswa_unet.bundle import load_model
from tfswa_unet.config import choices
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.training.builder import build_run

CONF = Path(__file__).parents[2] / "conf"
GROUPS = [
    "task",
    "model",
    "stems",
    "augmentation",
    "loss",
    "optimizer",
    "scheduler",
    "ema",
    "trainer",
    "strategy",
    "logger",
    "callbacks",
]
RENDERED = {"rendered", "open_songs"}  # made from recordings, which have to be given
NEVER_ALONE = {"rest", "accompaniment"}  # stems that are the whole mixture without others beside them


@pytest.mark.parametrize(("group", "choice"), [(g, c) for g in GROUPS for c in choices(g) if c not in NEVER_ALONE])
def test_every_choice_can_be_built(config, tmp_path, group, choice):
    overrides = [f"{group}={choice}", "trainer.accelerator=cpu", "trainer.devices=1"]
    if group != "model":
        overrides.append("model=tfswa_mobile")  # the smallest
    if choice == "wandb":
        overrides.append("logger.wandb.offline=true")
    run = build_run(config(*overrides, small=False), tmp_path)
    run.module.trainer = run.trainer
    assert run.module.configure_optimizers()["optimizer"].param_groups[0]["params"]


@pytest.mark.parametrize("choice", choices("data"))
def test_every_data_choice_names_its_root_and_kind(config, samples, choice):
    data = config(f"data={choice}", *([samples] if choice in RENDERED else []), small=False)["data"]
    assert all(each["root"] and each["kind"] for each in data["sets"].values())
    assert data["seconds"] > 0


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_can_be_built(config, samples, tmp_path, experiment):
    given = [samples, "data.root=null"] if experiment in RENDERED else []  # of two sets
    run = build_run(config(f"experiment={experiment}", *given, small=False), tmp_path)
    assert run.trainer.max_epochs


def test_the_larger_recipes_change_what_their_names_say(config):
    base, large, karaoke = (
        config(f"experiment={name}", small=False) for name in ("musdb18hq_base", "musdb18hq_large", "karaoke")
    )
    assert (large["model"]["name"], list(karaoke["stems"])) == ("tfswa_large", ["vocals", "accompaniment"])
    assert large["strategy"] == {**base["strategy"], "gradient_checkpointing": True}
    for other, changed in ((large, ("model", "strategy")), (karaoke, ("stems",))):
        assert {key for key in base if base[key] != other[key]} == set(changed)


def test_fine_tuning_takes_the_model_of_what_it_starts_from(config, tmp_path):
    run = build_run(config("experiment=fast_finetune", small=False), tmp_path)
    theirs = load_model("tfswa_open_small")
    assert run.module.model.config == {**theirs.config, "name": "finetuned"}
    assert all(torch.equal(a, b) for a, b in zip(run.module.model.parameters(), theirs.parameters(), strict=True))
    kept = yaml.safe_load((tmp_path / "config.yaml").read_text())  # from which the run can be built again
    assert kept["model"]["network"] == theirs.config["network"]
    for missing in ("init_from=null", "init_from=''"):
        with pytest.raises(
            ConfigError, match=r"^model is missing: choose one, such as model=tfswa_base, or give init_"
        ):
            build_run(config("experiment=fast_finetune", missing, small=False), tmp_path / "none")


def _commands(path):
    """Commands that an experiment's file opens with."""
    head = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    return [line.removeprefix("# ") for line in head if line.startswith("# python train.py")]


def _runs(command):
    """The overrides of each run that a command starts."""
    words = [word for word in command.split()[2:] if word != "-m" and not word.startswith(("data.root=", "data.sets."))]
    choices = [[f"{name}={value}" for value in values.split(",")] for name, values in (w.split("=", 1) for w in words)]
    return itertools.product(*choices)


EXPERIMENTS = sorted((CONF / "experiment").rglob("*.yaml"))
RUNS = sorted({run for path in EXPERIMENTS for command in _commands(path) for run in _runs(command)})


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.relative_to(CONF)))
def test_every_experiment_opens_with_a_command_that_chooses_it(path):
    group, choice = "experiment", str(path.relative_to(CONF / "experiment").with_suffix(""))
    if choice.startswith("ablation/"):
        group, choice = "+experiment/ablation", choice.removeprefix("ablation/")
    first, *others = _commands(path)
    assert path.read_text().splitlines()[1] == f"# {first}"
    for command in (first, *others):
        assert any(f"{group}={choice}" in run for run in _runs(command)), command


@pytest.mark.parametrize("run", [run for run in RUNS if len(run) > 1], ids=" ".join)
def test_an_ablation_changes_the_network_alone(config, run):
    paper, ablation = config(run[0], small=False), config(*run, small=False)
    with torch.device("meta"):
        model = models.build({**ablation["model"], "stems": ablation["stems"]})
    assert model.stems == (run[0].removeprefix("experiment=paper_"),)
    changed = {key for key, value in ablation["model"]["network"].items() if value != paper["model"]["network"][key]}
    assert len(changed) == (0 if run[1].endswith(("tfswa", "/4", "/384")) else 2 if run[1].endswith("blocks/1") else 1)
    for values in (paper, ablation):
        del values["model"]["network"]
    assert ablation == paper


@pytest.mark.parametrize(("stem", "epochs"), [("vocals", 30), ("drums", 10), ("bass", 30), ("other", 10)])
def test_the_papers_training(config, stem, epochs):
    values = config(f"experiment=paper_{stem}", small=False)
    assert list(values["stems"]) == [stem]
    assert values["trainer"]["max_epochs"] == epochs
    assert (values["data"]["seconds"], values["data"]["batch_size"]) == (3.0, 16)
    mixing = {"mode": "random", "p": 1.0, "mix_audio": 1.0, "redraw": 0.0}
    assert values["data"]["mixing"] | mixing == values["data"]["mixing"]
    assert values["augmentation"] == {}
    assert values["loss"] == {"waveform_l1": {"weight": 1.0}}
    assert values["optimizer"] == {"name": "adam", "lr": 1e-3}
    assert values["scheduler"] == {"name": "exponential", "every_epochs": 1.5, "factor": 0.9}
    assert values["strategy"]["precision"] == "32-true"


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
    batch = next(iter(run.data.ready().train_dataloader()))
    assert batch.shape == (2, len(names) + (not covers), 2, 8_820)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["+stems.guitar=[guitar]"], ConfigError, r"guitar"),
        (["+data.path=x"], ConfigError, r"unknown key data\.path"),
        (["+model.network.depth=3"], ConfigError, r"unknown key model\.network\.depth \(did you mean depths\?\)"),
        (["+seeds=3"], ConfigError, r"unknown key seeds \(did you mean seed\?\)"),
        (["optimizer.name=sgdx"], ConfigError, r"unknown optimizer 'sgdx': expected one of adamw, adam"),
        (["+optimizer.momentum=1"], ConfigError, r"unknown option optimizer\.adamw\.momentum: it takes lr, betas"),
        (["optimizer.lr=-1"], ConfigError, r"optimizer\.adamw: Invalid learning rate: -1"),
        (["optimizer.lr=fast"], ConfigError, r"optimizer\.adamw\.lr is 'fast', expected a number"),
        (["scheduler.name=poly"], ConfigError, r"unknown scheduler 'poly'"),
        (["+scheduler.power=2"], ConfigError, r"unknown option scheduler\.cosine\.power: it takes warmup_steps, floor"),
        (["trainer.max_epochs=many"], ConfigError, r"trainer\.max_epochs is 'many', expected a whole number"),
        (
            ["+callbacks.samples.every=2"],
            ConfigError,
            r"unknown key callbacks\.samples\.every: expected one of every_n_epochs",
        ),
        (["strategy.precision=fp7"], ConfigError, r"trainer/strategy: .*fp7"),
        (["resume=/nowhere/last.ckpt"], ConfigError, r"resume=/nowhere/last\.ckpt: no such checkpoint"),
        (["data=rendered"], ConfigError, r"^data\.sets\.rendered\.render\.samples is missing: give it a value$"),
        (["data=rendered", "data.sets.rendered.render.samples=/nowhere"], DataError, r"/nowhere is not a folder: give"),
        (["data.root=/nowhere"], DataError, r"/nowhere.*data\.root=.*data=synthetic"),
    ],
)
def test_mistakes_are_refused_before_training(config, tmp_path, overrides, error, message):
    with pytest.raises(error, match=message) as caught:
        build_run(config(*overrides), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        ("single", ("SingleDeviceStrategy", "32-true", False, False, 1)),
        ("ddp", ("DDPStrategy", "32-true", False, False, 2)),
        ("ddp_amp", ("DDPStrategy", "bf16-mixed", False, False, 2)),
        ("ddp_amp_checkpoint", ("DDPStrategy", "bf16-mixed", True, False, 2)),
        ("fsdp", ("ShardedStrategy", "32-true", False, False, 2)),
        ("compile", ("DDPStrategy", "32-true", False, True, 2)),
        ("[ddp,bf16,checkpoint,compile]", ("DDPStrategy", "bf16-mixed", True, True, 2)),
    ],
)
def test_a_strategy_reaches_the_trainer_and_the_network(config, tmp_path, strategy, wanted):
    devices = [] if strategy == "single" else ["trainer.devices=2"]
    small = [override for override in SMALL if override != "trainer.devices=1"]
    run = build_run(config(*small, *devices, f"strategy={strategy}", small=False), tmp_path)
    network = run.module.model.network
    compiled = [region._compiled_call_impl is not None for region in network.regions()]
    assert wanted == (
        type(run.trainer.strategy).__name__,
        run.trainer.precision,
        network.checkpointing,
        all(compiled),
        run.trainer.num_devices,
    )
    assert any(compiled) == all(compiled)
    assert len(compiled) == 3  # a block at each of two resolutions, and the decoder's


def test_a_sweep_of_hydras_does_not_start_itself_again_in_each_process(config, tmp_path, monkeypatch):
    two = config("trainer.devices=2", "strategy=ddp")
    monkeypatch.setattr("sys.argv", ["train.py", "-m", "seed=1,2"])
    told = r"^with -m, each of the 2 processes of a run would start the whole sweep again: put `torchrun .*sweep=optuna"
    with pytest.raises(ConfigError, match=told):
        build_run(two, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    build_run(config(), tmp_path / "one")
    monkeypatch.setenv("LOCAL_RANK", "0")  # as torchrun and SLURM start them
    build_run(two, tmp_path / "run")
