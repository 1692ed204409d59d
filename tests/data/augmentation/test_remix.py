from __future__ import annotations

import torch

from tests.data.augmentation.conftest import strong


def sources(p: float, count: int = 40, stems: int = 3) -> torch.Tensor:
    """Which example each stem (b, s) of the result came from; checks that it stayed in its own row of stems."""
    numbered = torch.arange(count * stems, dtype=torch.float32).view(count, stems, 1, 1).expand(-1, -1, 2, 5)
    generator = torch.Generator().manual_seed(4)
    result = strong("remix", p=p, generator=generator).train()(numbered.contiguous())
    assert (result == result[..., :1, :1]).all()
    number = result[..., 0, 0].long()
    assert torch.equal(number % stems, torch.arange(stems).expand(count, -1))
    return number // stems


def test_every_stem_is_permuted_by_itself_and_none_is_lost():
    found = sources(p=1.0)
    for row in found.T:
        assert torch.equal(row.sort().values, torch.arange(40))
    assert len(found.T.unique(dim=0)) == 3
    assert (found == torch.arange(40)[:, None]).float().mean() < 0.15


def test_only_the_chosen_examples_change_places():
    found = sources(p=0.4)
    moved = (found != torch.arange(40)[:, None]).any(1)
    assert 6 <= moved.sum() <= 28
    for row in found.T:
        assert torch.equal(row[moved].sort().values, moved.nonzero().flatten())


def test_a_batch_of_one_stays(stems):
    assert torch.equal(strong("remix", p=1.0).train()(stems[:1]), stems[:1])
