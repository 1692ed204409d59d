"""Score a model: `python eval.py ckpt=runs/…/checkpoints/last.ckpt data.root=/data/musdb18hq`.

`python eval.py compare A B` is `tfswa compare A B`.
"""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from tfswa_unet.entry import folder_of_job, in_one_sentence, plain_values
from tfswa_unet.processes import imports


@hydra.main(config_path="conf", config_name="eval", version_base="1.3")
@in_one_sentence
def main(config: DictConfig) -> None:
    """Separate every track of a split and write scores.json and a table."""
    with imports():
        from tfswa_unet.evaluation.run import score_checkpoint

    values = plain_values(config)
    score_checkpoint({**values, "out": folder_of_job(values["out"])})


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"]:
        from tfswa_unet.cli import main as command

        sys.exit(command(sys.argv[1:]))
    in_one_sentence(main)()
