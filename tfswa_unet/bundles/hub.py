"""Models on the Hugging Face Hub: repositories with a bundle, model.safetensors, and its model card, README.md."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from tfswa_unet.errors import ConfigError, ModelError
from tfswa_unet.files import content_hash

MODEL_FILE, CARD_FILE = "model.safetensors", "README.md"
NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
DEFAULT_REVISION = "main"


def parse(name: str) -> tuple[str, str]:
    """Repository and revision of OWNER/NAME[@REVISION].

    Raises:
        ModelError: for what is no such name.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise ModelError(f"hf://{name} is no repository: expected hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    return match[1], match[2] or DEFAULT_REVISION


def pull(name: str, cache: Path, offline: bool) -> Path:
    """The bundle of the repository OWNER/NAME[@REVISION], from the cache where that has it and the Hub nothing newer.

    Raises:
        ModelError: where it cannot be had, or its content is not what the Hub says.
        ConfigError: where huggingface_hub is not installed.
    """
    repository, revision = parse(name)
    library = _library()
    try:
        path = library.hf_hub_download(
            repository,
            MODEL_FILE,
            revision=revision,
            cache_dir=cache,
            local_files_only=offline,
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    except Exception as error:  # the library's own, those of its connection, and the system's
        raise ModelError(f"hf://{name} {_reason(error, cache, offline)}") from error
    _check(name, Path(path))
    return Path(path)


def push(path: Path, name: str, card: str, private: bool) -> str:
    """Put a bundle and its card into the repository OWNER/NAME, which is made where it is missing, by one commit.

    Gives the commit's address. The token is that of `hf auth login`, or HF_TOKEN.

    Raises:
        ModelError: where that is refused.
        ConfigError: where huggingface_hub is not installed.
    """
    repository, revision = parse(name)
    library = _library()
    hub = library.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    files = {MODEL_FILE: path, CARD_FILE: card.encode()}
    try:
        hub.create_repo(repository, private=private or None, exist_ok=True)  # None: as its owner has set it
        operations = [library.CommitOperationAdd(inside, given) for inside, given in files.items()]
        commit = hub.create_commit(
            repository, operations, commit_message=f"{path.name} and its card", revision=revision
        )
    except Exception as error:
        raise ModelError(f"hf://{name} {_reason(error, None, False)}") from error
    return str(commit.commit_url)


def kept(cache: Path) -> dict[str, Path]:
    """Bundles that the cache holds, by OWNER/NAME, or OWNER/NAME@REVISION for another revision than the default."""
    if not cache.is_dir():
        return {}
    found = {}
    for repository in sorted(_library().scan_cache_dir(cache).repos, key=lambda each: each.repo_id):
        for revision in repository.revisions:
            for file in revision.files:
                if file.file_name == MODEL_FILE:
                    for reference in revision.refs or [revision.commit_hash]:
                        ending = "" if reference == DEFAULT_REVISION else f"@{reference}"
                        found[f"{repository.repo_id}{ending}"] = Path(file.file_path)
    return found


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigError(
            "huggingface_hub is not installed, and models named hf://… need it: pip install 'tfswa-unet[hub]'"
        ) from error
    return huggingface_hub


def _check(name: str, path: Path) -> None:
    """Compare a file of the library's cache with the hash by which it is filed there; what is damaged is removed."""
    if not path.is_symlink():  # a file system without links: the library has compared the size
        return
    blob = path.parent / os.readlink(path)
    if len(blob.name) == 64:
        found = content_hash(blob)
    else:  # a file so small that git holds it itself
        content = blob.read_bytes()
        found = hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()
    if found != blob.name:
        blob.unlink()
        path.unlink()
        raise ModelError(f"hf://{name} arrived damaged (its hash is {found}, expected {blob.name}): try again")


def _reason(error: Exception, cache: Path | None, offline: bool) -> str:
    """What went wrong, and what to do, from an exception of the library's."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and offline:
        return f"is not in the cache ({cache}), and nothing is fetched while offline: `tfswa pull` it once before"
    if isinstance(error, errors.GatedRepoError):
        return "asks everyone to accept its terms first: do so on its page, then `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "does not exist or is private: check the name, and `hf auth login` for private ones"
    if isinstance(error, errors.RevisionNotFoundError):
        return "does not exist: the repository has no such revision"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"holds no {MODEL_FILE}: only repositories that `tfswa push` made can be used here"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "cannot be reached, and the cache does not have it: check the connection"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return "is not yours to write or read by this token: `hf auth login` as its owner"
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return f"cannot be reached ({reason[:160]}): check the connection"
