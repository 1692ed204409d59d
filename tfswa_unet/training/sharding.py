"""Weights, gradients and optimizer state cut over the processes of a run, `strategy=fsdp`."""

from __future__ import annotations

from typing import Any

import torch.distributed
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from tfswa_unet.models import build
from tfswa_unet.training.module import SeparationModule


class ShardedStrategy(ModelParallelStrategy):
    """Fully sharded data parallel, FSDP2, over all processes; its checkpoints are one file each, as all others.

    Source: PyTorch FSDP, arXiv 2304.11277.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        # Lightning's own choice cuts tensors within a machine, and data over machines only.
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()


class ShardedModule(SeparationModule):
    """A `SeparationModule` for `ShardedStrategy`: each block's weights are put together while it works, no longer."""

    def configure_model(self) -> None:
        """Cut the network; Lightning calls this when the processes know each other."""
        mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
        network: Any = self.model.network
        for region in network.regions():
            fully_shard(region, mesh=mesh)
        fully_shard(network, mesh=mesh)
        network.register_forward_pre_hook(share_buffers)

    def whole_model(self) -> nn.Module:
        """A copy with all of the weights: processes validate tracks of other lengths, so none may wait for another."""
        weights = self.model.state_dict()
        whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in weights.items()}
        model = build(self.hparams["model"]).to(self.device)
        model.load_state_dict(whole)
        return model


def share_buffers(network: nn.Module, _: Any) -> None:
    """Give all processes the running statistics of the first before a training step, as DDP does."""
    if network.training:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, 0)
