"""Files of the Hugging Face hub: those in its cache, others downloaded into it. No code is ever taken from there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transfer.backbones import downloads
from transfer.system.errors import UserError
from transfer.system.text import first_line

# Names that weights have in a repository, the preferred first.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def find_file(repository: str, names: Sequence[str], remedy: str) -> Path:
    """Find the first of some files of a repository that is there; the network is asked only for what is not cached.

    Parameters
    ----------
    repository : str
        As in `timm/resnet18.a1_in1k`.
    names : sequence of str
        Names of files, the preferred first.
    remedy : str
        What a user does with a file that was fetched elsewhere, for the message.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        Where none is there or can be downloaded.
    """
    import huggingface_hub as hub

    for name in names:
        if path := cached(repository, name):
            return path
    for name in names:
        if path := _download(repository, name, remedy):
            return path
    page = hub.hf_hub_url(repository, names[0]).rsplit("/resolve/", 1)[0]
    raise UserError(f"{page} has no {' or '.join(names)}; {remedy}")


def find_optional(repository: str, name: str, remedy: str) -> Path | None:
    """Find a file as `find_file` does; None where the repository has no such file."""
    import huggingface_hub as hub

    found = hub.try_to_load_from_cache(repository, name, cache_dir=hub.constants.HF_HUB_CACHE)
    if isinstance(found, str):
        return Path(found)
    return None if found is hub.file_download._CACHED_NO_EXIST else _download(repository, name, remedy)


def cached(repository: str, name: str) -> Path | None:
    """Return a file in the hub's cache; None where it is not there."""
    import huggingface_hub as hub

    found = hub.try_to_load_from_cache(repository, name, cache_dir=hub.constants.HF_HUB_CACHE)
    return Path(found) if isinstance(found, str) else None


def _download(repository: str, name: str, remedy: str) -> Path | None:
    """Download a file; None where the repository does not have it."""
    import huggingface_hub as hub
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    url = hub.hf_hub_url(repository, name)
    try:
        with _quiet():
            # Where there is no network, this fails at once; the download itself tries again for 24 s.
            hub.get_hf_file_metadata(url, timeout=downloads.DOWNLOAD_TIMEOUT_S)
            return Path(hub.hf_hub_download(repository, name, cache_dir=hub.constants.HF_HUB_CACHE))
    except LocalEntryNotFoundError as error:  # the network was lost meanwhile
        raise _failure(url, first_line(error), remedy) from error
    except EntryNotFoundError:
        return None
    except GatedRepoError as error:
        reason = "its owner has to grant access: accept the conditions on its page and set HF_TOKEN"
        raise _failure(url, reason, remedy) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"the Hugging Face hub has no repository {repository}, or it is private; check its name, or set HF_TOKEN"
        ) from error
    except (
        Exception
    ) as error:  # the hub's client raises errors of its own, of its HTTP library and of the system
        raise _failure(url, first_line(error), remedy) from error


def _failure(url: str, reason: str, remedy: str) -> UserError:
    return UserError(f"can't download {url} ({reason}); {remedy}, or use {downloads.OFFLINE_WAY}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's progress bars and warnings: standard error has the project's own."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    client = logging.getLogger("huggingface_hub")
    level, shown = client.level, not are_progress_bars_disabled()
    client.setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        yield
    finally:
        client.setLevel(level)
        if shown:
            enable_progress_bars()
