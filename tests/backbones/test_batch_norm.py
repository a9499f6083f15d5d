from __future__ import annotations

import pytest
from torch import nn

from transfer.backbones.batch_norm import check_batch_norm, list_batch_norms
from transfer.system.errors import UserError


def test_only_batch_norms_with_running_statistics_count() -> None:
    parts = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False), nn.LayerNorm(2))
    assert [path for path, _ in list_batch_norms(parts)] == ["0"]
    check_batch_norm(parts, "small")
    with pytest.raises(UserError, match="small has no batch norm; leave out `bn='train'`"):
        check_batch_norm(parts[1:], "small")
