"""Stage `download`: a name of the catalogue, or a URL, to verified files in the output folder."""

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from fsa_jax import manifest
from fsa_jax.configs import DownloadConfig
from fsa_jax.data.catalogue import CATALOGUE, GitHub, Hub
from fsa_jax.data.fetch import Fetcher, File, copy
from fsa_jax.errors import UserError, nearest
from fsa_jax.progress import say
from fsa_jax.urls import public

GITHUB, HUB = 'https://raw.githubusercontent.com', 'https://huggingface.co'


def run(out: manifest.Output, config: DownloadConfig) -> None:
    """Fetches what `config.name` names into `out.folder`; files that are there already are checked."""
    local = local_mirror(config.mirror)
    recorded: dict[str, str] = {}
    if config.again:
        config, recorded = earlier(config, out.read('DownloadConfig.again', config.again))
    with Fetcher(out.folder, config.timeout, config.retries) as fetcher:
        revision, files = plan(config, fetcher, local)
        if config.again:
            files = _as_recorded(files, recorded, config.again)
        trusted = []
        for file in files:
            sha256 = copy(file, local / file.path, out.folder) if local else fetcher.file(file)
            if not file.sha256:
                trusted.append(file.path)
                say(f'{file.path}: no hash was known beforehand; recorded sha256 {sha256}')
    out.counts |= {
        'revision': revision,
        'files': len(files),
        'bytes': sum((out.folder / file.path).stat().st_size for file in files),
        'trusted_on_first_use': trusted,
        # pages and model cards show counts, so they do not tell a mirror, or a signed link's key
        'urls': {} if config.mirror else {file.path: public(file.url) for file in files},
    }


def earlier(config: DownloadConfig, folder: Path) -> tuple[DownloadConfig, dict[str, str]]:
    """`config` at the revision of the download in `folder`, and the sha256 of each file it got."""
    content = manifest.read(folder)
    there = content['knobs'].get('DownloadConfig.name')
    if there != config.name:
        raise UserError(
            f'DownloadConfig.again={config.again} is no download of {config.name!r}, but of {there!r}'
        )
    hashes = {path: entry['sha256'] for path, entry in content['files'].items()}
    return config.replace(revision=config.revision or content['counts']['revision']), hashes


def _as_recorded(files: list[File], recorded: dict[str, str], again: str) -> list[File]:
    if odd := sorted({file.path for file in files} ^ recorded.keys()):
        raise UserError(
            f'{odd[0]} is only in one of this download and DownloadConfig.again={again}'
        )
    return [replace(file, sha256=recorded[file.path]) for file in files]


def local_mirror(mirror: str) -> Path | None:
    """The folder that DownloadConfig.mirror names; None where it is empty or a URL."""
    if not mirror or mirror.startswith(('http://', 'https://')):
        return None
    folder = Path(mirror.removeprefix('file://'))
    if not folder.is_dir():
        raise UserError(
            f'DownloadConfig.mirror={mirror!r} must be an http(s) URL or a local folder that exists'
        )
    return folder


def plan(config: DownloadConfig, fetcher: Fetcher, local: Path | None) -> tuple[str, list[File]]:
    """(revision, files) to fetch."""
    name = config.name
    if name.startswith(('http://', 'https://')):
        return '', [_url_file(config)]
    if config.sha256:
        raise UserError('DownloadConfig.sha256 goes with a URL; the hashes of a name are known')
    if name not in CATALOGUE:
        raise UserError(
            f'nothing is called {name!r}{nearest(name, CATALOGUE)}; expected a URL or one of '
            f'{", ".join(CATALOGUE)}'
        )
    entry = CATALOGUE[name]
    if isinstance(entry, GitHub):
        return _github_files(entry, config)
    return _local_hub_files(entry, config, local) if local else _hub_files(entry, config, fetcher)


def _url_file(config: DownloadConfig) -> File:
    try:
        path = urlsplit(config.name).path
    except ValueError as error:
        raise UserError(f'DownloadConfig.name={config.name!r}: {error}') from None
    name = PurePosixPath(path).name
    if not name:
        raise UserError(f'DownloadConfig.name={config.name!r} must be the URL of a file')
    url = config.mirror.rstrip('/') + path if config.mirror else config.name
    return File(name, url, config.sha256.lower())


def _github_files(entry: GitHub, config: DownloadConfig) -> tuple[str, list[File]]:
    revision = config.revision or entry.revision
    base = f'{config.mirror.rstrip("/") or GITHUB}/{entry.repository}/{revision}'
    known = revision == entry.revision
    return revision, [
        File(path, f'{base}/{source}', sha256 if known else '')
        for path, (source, sha256) in entry.files.items()
    ]


def _hub_files(entry: Hub, config: DownloadConfig, fetcher: Fetcher) -> tuple[str, list[File]]:
    """Files that the Hub lists for a revision, with the sha256 it announces for large ones."""
    host = config.mirror.rstrip('/') or HUB
    asked = config.revision or entry.revision
    kind = '' if entry.repository.startswith('datasets/') else 'models/'
    url = f'{host}/api/{kind}{entry.repository}/revision/{quote(asked, safe="")}?blobs=true'
    info = fetcher.json(url)
    if not isinstance(info, dict) or not {'sha', 'siblings'} <= info.keys():
        raise UserError(f'{url}: not the answer of a Hugging Face host (DownloadConfig.mirror)')
    revision = info['sha']  # a branch may move between two files: fetch all of one commit
    known = entry.sha256 if revision == entry.revision else {}
    files = []
    for sibling in info['siblings']:
        path = _safe(sibling['rfilename'])
        announced = (sibling.get('lfs') or {}).get('sha256', '')
        if _wanted(path, entry):
            url = f'{host}/{entry.repository}/resolve/{revision}/{quote(path)}'
            files.append(File(path, url, known.get(path) or announced, sibling.get('size')))
    _check_needs(entry, files, f'{entry.repository} at {revision}')
    return revision, files


def _local_hub_files(entry: Hub, config: DownloadConfig, local: Path) -> tuple[str, list[File]]:
    """The files of a folder, without what an earlier download noted in it about itself."""
    revision = config.revision or entry.revision
    known = entry.sha256 if revision == entry.revision else {}
    notes = {manifest.MANIFEST, manifest.CONFIG} if manifest.find(local) else set()
    paths = {p.relative_to(local).as_posix() for p in local.rglob('*') if p.is_file()}
    files = [
        File(path, str(local / path), known.get(path, ''))
        for path in sorted(paths - notes)
        if _wanted(path, entry)
    ]
    _check_needs(entry, files, str(local))
    return revision, files


def _wanted(path: str, entry: Hub) -> bool:
    hidden = any(part.startswith('.') for part in PurePosixPath(path).parts)
    top = '/' not in path
    return not hidden and any(p == '**' or (top and fnmatch(path, p)) for p in entry.patterns)


def _safe(path: str) -> str:
    if PurePosixPath(path).is_absolute() or '..' in PurePosixPath(path).parts:
        raise UserError(
            f'the host lists a file {path!r}, which would lie outside the output folder'
        )
    return path


def _check_needs(entry: Hub, files: list[File], where: str) -> None:
    if entry.needs and not any(fnmatch(file.path, entry.needs) for file in files):
        raise UserError(
            f'{where} holds no {entry.needs} (pickled weights are not read): save it with '
            "transformers' save_pretrained, or name a revision that has them (DownloadConfig.revision)"
        )
    if not files:
        raise UserError(f'{where} holds no file to fetch')
