import numpy as np
import pytest
import torch

from transfer.heads import products
from transfer.heads.products import multiply_few, multiply_rows


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


@pytest.mark.parametrize("least", [0, 1e9])
def test_products_of_read_only_rows_and_of_rows_with_gaps(
    monkeypatch: pytest.MonkeyPatch, least: float
) -> None:
    monkeypatch.setattr(products, "LEAST_OPERATIONS", least)
    x_MD = np.random.default_rng(0).normal(size=(600, 40)).astype(np.float32)
    x_MD.flags.writeable = False
    for own in (x_MD, x_MD[:, ::2], x_MD.T):
        np.testing.assert_allclose(multiply_rows(own, own[:30]), own @ own[:30].T, atol=1e-3)


@pytest.mark.parametrize("writeable", [True, False])
def test_rows_of_another_type_and_read_only_ones_are_not_converted_all_at_once(
    monkeypatch: pytest.MonkeyPatch, writeable: bool
) -> None:
    taken: list[int] = []
    real = products._multiply

    def multiply(x_BD: np.ndarray, y_BD: np.ndarray) -> np.ndarray:
        taken.append(len(x_BD))
        return real(x_BD, y_BD)

    monkeypatch.setattr(products, "_multiply", multiply)
    rng = np.random.default_rng(0)
    x_MD = rng.normal(size=(1300, 15)).astype(np.float32)
    y_ND = rng.normal(size=(3, 15)).astype(np.float64 if writeable else np.float32)
    x_MD.flags.writeable = writeable
    np.testing.assert_allclose(multiply_rows(x_MD, y_ND), x_MD @ y_ND.T, atol=1e-5)
    assert sorted(taken) == [1300 - 2 * products.BLOCK_ROWS, *[products.BLOCK_ROWS] * 2]


def test_products_of_an_array_with_itself_are_symmetric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_OPERATIONS", 0)
    x_ND = np.random.default_rng(0).normal(size=(1300, 15))
    found = multiply_rows(x_ND, x_ND)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("plain", [False, True])  # as where oneDNN's layer is not to be had
def test_products_of_few_rows_are_those_of_torch(monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    if plain:
        monkeypatch.setattr(products, "_LAYER", None)
    generator = torch.Generator().manual_seed(0)
    x_MD, y_ND, wider = (torch.randn(n, d, generator=generator) for n, d in ((7, 300), (33, 300), (33, 301)))
    columns_DM = x_MD.T.contiguous()
    for one, other in ((x_MD, y_ND), (columns_DM.T, y_ND), (x_MD, wider[:, :-1]), (x_MD[:0], y_ND)):
        torch.testing.assert_close(multiply_few(one, other), one @ other.T, atol=1e-4, rtol=0)


def test_products_of_few_rows_have_gradients_and_any_width() -> None:
    generator = torch.Generator().manual_seed(0)
    x_MD, y_ND = (torch.randn(n, 5, generator=generator, requires_grad=True) for n in (2, 3))
    multiply_few(x_MD, y_ND).sum().backward()
    torch.testing.assert_close(x_MD.grad, y_ND.detach().sum(0).expand(2, 5))
    torch.testing.assert_close(multiply_few(x_MD[:, :0], y_ND[:, :0]), torch.zeros(2, 3))
    assert multiply_few(x_MD.double(), y_ND.double()).dtype == torch.float64
