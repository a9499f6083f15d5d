import numpy as np
import pytest

from transfer.heads import products
from transfer.heads.products import multiply_rows


@pytest.mark.parametrize("n_rows", [30, 1100])  # one block, and several
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch, n_rows: int, dtype: type) -> None:
    monkeypatch.setattr(products, "LEAST_OPERATIONS", 1e6)
    rng = np.random.default_rng(0)
    x_MD, y_ND = (rng.normal(size=(n, 20)).astype(dtype) for n in (n_rows, n_rows + 7))
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    for other in (y_ND, x_MD):
        found = multiply_rows(x_MD, other)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, x_MD @ other.T, atol=tolerance * 20)


def test_products_of_an_array_with_itself_are_symmetric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_OPERATIONS", 0)
    x_ND = np.random.default_rng(0).normal(size=(1300, 15))
    found = multiply_rows(x_ND, x_ND)
    np.testing.assert_array_equal(found, found.T)
