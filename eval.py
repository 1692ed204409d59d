"""Score a model: `python eval.py ckpt=runs/…/checkpoints/last.ckpt data.root=/data/musdb18hq`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig, OmegaConf

from tfswa_unet.entry import in_one_sentence


@hydra.main(config_path="conf", config_name="eval", version_base="1.3")
@in_one_sentence
def main(config: DictConfig) -> None:
    """Separate every track of a split and write scores.json and a table."""
    from tfswa_unet.evaluation.job import score_checkpoint

    score_checkpoint(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


if __name__ == "__main__":
    in_one_sentence(main)()
