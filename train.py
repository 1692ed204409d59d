"""Train a model: `python train.py model=tfswa_base trainer.devices=4`; `python train.py --help` lists the groups."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from tfswa_unet.entry import in_one_sentence, plain_values
from tfswa_unet.processes import imports


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
@in_one_sentence
def main(config: DictConfig) -> float:
    """Train, once, in a sweep or in a study, and return the best validation SDR in dB, which sweepers maximise."""
    from hydra.core.hydra_config import HydraConfig

    values, folder = plain_values(config), Path(HydraConfig.get().runtime.output_dir)
    if "sweep" in values:
        from tfswa_unet.training.sweep import sweep

        return sweep(values, sys.argv, folder)
    if "study" in values:
        from tfswa_unet.training.study import study

        return study(values, sys.argv, folder)
    with imports():
        from tfswa_unet.training.fit import fit

    return fit(values, folder)


if __name__ == "__main__":
    in_one_sentence(main)()
