"""What `transfer report` does with its arguments."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from transfer.cli.candidates_command import result_files
from transfer.cli.exit_status import DONE
from transfer.cli.messages import name_options
from transfer.cli.parsing import parse_columns
from transfer.system.errors import UserError
from transfer.system.progress import reported
from transfer.system.run_files import FRONTIER, PREDICTIONS, RESULT

if TYPE_CHECKING:
    from transfer.evaluation.results import Result

log = logging.getLogger(__name__)


def report(args: argparse.Namespace) -> int:
    """Show results again."""
    from transfer import report
    from transfer.evaluation import results
    from transfer.report import rendering
    from transfer.serving.run_folder import check_same_run

    if args.images and not args.html:
        raise UserError("--images needs --html, which names the page to write")
    files, remarks = _comparisons(args.files)
    seen = {file.resolve() for file in files}
    whole = {path.parent for path in args.files if path.name == FRONTIER and _is_comparison(path.parent)}
    for path in args.files:
        if _is_comparison(path) or (path.name == FRONTIER and path.parent in whole):
            continue
        if path.parent in whole and path.exists():  # the shell's DIR/* names all that lies beside it
            if (path / RESULT).is_file() and (path / RESULT).resolve() not in seen:
                log.warning("%s is left out: the comparison in %s has no such run", path, path.parent)
            continue
        file = _result_file(path)
        if file.resolve() not in seen:
            files.append(file)
    if args.images and len(files) > 1:
        raise UserError("--images shows the images of one result; give one, or leave --images out")
    if not files:
        raise UserError(f"{args.files[0]} is no result; give the folder that --out named")
    if len(files) > 1 or remarks:
        return _report_several(files, args.html, remarks)
    result = results.load(files[0])
    check_same_run(files[0].parent)
    if args.html:
        return _report_page(args, result, files[0].parent / PREDICTIONS)
    report.show(result, rendering.console(), verbose=args.verbose)
    return DONE


def _comparisons(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the result files of runs of several networks, and remarks on these, wherever such a run is named."""
    from transfer.report import frontier
    from transfer.system import schemas

    files: list[Path] = []
    remarks: list[str] = []
    named = (path.parent if path.name == FRONTIER else path for path in paths)
    for folder in {one.resolve(): one for one in named if _is_comparison(one)}.values():
        record = schemas.load(folder / FRONTIER, "frontier")
        files += result_files(folder, record)
        remarks += map(name_options, frontier.remarks(record))
    return files, remarks


def _is_comparison(folder: Path) -> bool:
    """Return whether a folder is what a run of several networks wrote."""
    return (folder / FRONTIER).is_file() and not (folder / RESULT).exists()


def _result_file(path: Path) -> Path:
    """Return the result file that a path names: itself, or the one in the folder of a run."""
    if not path.is_dir():
        return path
    if not (path / RESULT).exists():
        from transfer.serving.run_folder import check_one_run

        check_one_run(path)
        raise UserError(f"no {RESULT} in {path}; give the folder that --out named, or a result file")
    return path / RESULT


def _report_several(files: Sequence[Path], page: Path | None, remarks: Sequence[str]) -> int:
    """Show several results together, or write their page."""
    from transfer import report
    from transfer.report import rendering
    from transfer.report.runs import read_runs
    from transfer.serving.run_folder import check_same_run
    from transfer.system.files import write

    runs = read_runs(files)
    for file in files:
        check_same_run(file.parent)
    if page:
        with rendering.progress(quiet=False) as on_progress, reported(on_progress, "write", str(page)):
            write(page, report.page_of_several(runs, remarks).encode())
    else:
        report.show_side_by_side(runs, rendering.console(), remarks)
    return DONE


def _report_page(args: argparse.Namespace, result: Result, predictions: Path) -> int:
    """Write the page of a result again, with those of its images that lie below the folder of --images."""
    from transfer.data.decode import SHIFT
    from transfer.data.image_tables import folder_of, is_table, list_images
    from transfer.data.loader import File
    from transfer.data.sizes import DEFAULT
    from transfer.data.thumbnails import make_thumbnail
    from transfer.report import rendering

    root, listed = args.images, None
    if root and is_table(root):
        columns = parse_columns(args.columns) or result.config.get("columns", {})
        listed = {str(path) for path in list_images(root, columns)}
        root = folder_of(root)
    elif root and not root.is_dir():
        raise UserError(
            f"--images is {root}, which is no folder and no table; give the one that was compared"
        )
    shift, (height, width) = result.features.get("shift", SHIFT), result.backbone["input_size"]
    # Features that were given have no size of images.
    size = (height, width) if height and width else DEFAULT
    shown: list[bool] = []

    def thumbnail(file: str) -> bytes | None:
        # A result may come from anywhere: it shows what lies below the folder, or what the table names.
        inside = not PurePosixPath(file).is_absolute() and ".." not in PurePosixPath(file).parts
        if listed is not None:
            inside = str(root / file) in listed
        jpeg = make_thumbnail(File(root / file, shift=shift), size) if root and inside else None
        shown.append(jpeg is not None)
        return jpeg

    with rendering.progress(quiet=False) as on_progress, reported(on_progress, "write", str(args.html)):
        from transfer.outputs.folder import write_page

        write_page(args.html, result, predictions, thumbnail)
    if args.images and shown and not any(shown):
        log.warning("no image of the result is in %s; the page has no pictures", args.images)
    return DONE
