"""``skltransfer compare``: does transfer pay, which strategy, and the model of it."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

from skltransfer.cli._bundled import bundled_plans
from skltransfer.cli._errors import CommandError, import_extra, shown
from skltransfer.cli._image_data import read_images
from skltransfer.cli._models import predictions, saved, write_predictions
from skltransfer.cli._named_networks import default_network, image_backbones, text_backbones
from skltransfer.cli._output import (
    LiveLine,
    Terminal,
    Written,
    check_folder,
    made_folder,
    write_files,
    write_json,
)
from skltransfer.cli._plans import Plan, image_plan, table_plan, text_plan
from skltransfer.cli._table_data import TableData, TableRequest, read_tables
from skltransfer.cli._text_data import texts_of, with_notes_of_cut_texts
from skltransfer.cli._unlabelled import report_domains
from skltransfer.model_selection._plot import draw_comparison
from skltransfer.model_selection._report import write_report

# Options that mean nothing for other data.
_OF_TABLES = ("label", "source", "domain", "task", "text", "drop", "group", "align_columns")
_OF_IMAGES = ("backbone", "fine_tune")
_OF_ANY = ("metric", "positive", "strategies", "budget", "quick")


def compare(options) -> None:
    """Make the comparison that the command asks for, and report it."""
    for module in ("pandas", "matplotlib", "jinja2", "skops.io"):
        import_extra(module)
    check_folder(options.output, options.force)
    started = time.perf_counter()
    terminal = Terminal()
    with LiveLine(options.quiet) as live:
        plans = _plans(options, live)
        folder = made_folder(options.output)
        if isinstance(plans, TableData):
            report = report_domains(plans, options, folder)
        else:
            report = _report(plans, options, folder, live)
    # Files come first, because the terminal may be closed.
    if options.json:
        terminal.say(json.dumps(report.content, indent=1, ensure_ascii=False))
    elif options.quiet:
        terminal.say(report.verdict)
    else:
        terminal.say(f"{report.text}\n")
        files = ", ".join(report.names)
        terminal.say(f"{time.perf_counter() - started:.0f} s. In {shown(folder)}: {files}")
    sys.stdout.flush()


def _plans(options, live: LiveLine) -> list[Plan] | TableData:
    """Read and check the data; return what to compare, or a target without any label."""
    target = options.target
    if target is None:
        _refuse(options, _OF_TABLES + _OF_IMAGES + _OF_ANY, "a file or folder of your own")
        return bundled_plans(options.seed)
    if Path(target).is_dir():
        _refuse(options, _OF_TABLES, "a table, not with a folder of images")
        backbones = image_backbones(options.backbone)
        images = read_images(
            target, options.seed, lambda n, total: live.count("reading images", n, total)
        )
        if not backbones:
            backbones = image_backbones(default_network(photographs=images.look_like_photographs))
        return [image_plan(images, target, backbones, options)]
    if options.text is None:
        _refuse(options, _OF_IMAGES, "a folder of images, or with --text COLUMN")
    _refuse(options, ("fine_tune",), "a folder of images")
    data = read_tables(
        TableRequest(
            target,
            options.label,
            options.source,
            options.domain,
            options.text,
            tuple(options.drop),
            options.group,
            options.align_columns,
            options.task,
        )
    )
    if options.text is not None:
        if not len(data.y):
            raise CommandError(
                f"no row of {data.name!r} has a label, and texts need some to be scored. Label "
                "some rows."
            )
        backbones = text_backbones(options.backbone)
        texts = with_notes_of_cut_texts(texts_of(data, options.text), backbones)
        return [text_plan(texts, options.text, backbones, options)]
    if not len(data.y):
        return data
    plan = table_plan(data, options)
    if data.X_source is None:
        plan.notes.append(
            "only one domain was given; add --source SOURCE, or --domain COLUMN, to see whether "
            "another one helps"
        )
    return [plan]


def _refuse(options, names: tuple[str, ...], place: str) -> None:
    for name in names:
        if getattr(options, name):
            raise CommandError(f"--{name.replace('_', '-')} goes with {place}.")


def _report(plans: list[Plan], options, folder: Path, live: LiveLine) -> Written:
    """Make comparisons and write their files."""
    comparisons = [
        plan.compare(n_jobs=options.jobs, seed=options.seed, progress=live.fits_of(plan.title))
        for plan in plans
    ]
    main, plan = comparisons[0], plans[0]
    model, predicted = _chosen_model(main, plan)
    content = main.to_dict()
    if len(comparisons) > 1:
        content["others"] = [other.to_dict() for other in comparisons[1:]]
    writers = {
        "report.html": lambda path: write_report(comparisons, path),
        "scores.csv": lambda path: _write_scores(comparisons, path),
        "summary.json": lambda path: write_json(content, path),
        "comparison.png": lambda path: draw_comparison(comparisons, path),
    }
    if model is not None:
        writers["model.skops"] = lambda path: path.write_bytes(model)
    if predicted is not None:
        writers["predictions.csv"] = lambda path: write_predictions(predicted, path)
    write_files(folder, writers)
    text = "\n\n".join(comparison.summary() for comparison in comparisons)
    return Written(content, main.verdict, text, list(writers))


def _chosen_model(comparison, plan: Plan):
    """Return the chosen estimator as the content of a file, and its predictions of the rest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes tell what the fits of the folds warned of
        fitted = comparison.best_estimator_
    predicted = None
    if plan.X_unlabelled is not None:
        has_shares = hasattr(fitted, "predict_proba")
        predicted = predictions(
            fitted, plan.X_unlabelled, plan.unlabelled_rows, "row", with_probabilities=has_shares
        )
    return saved(fitted, plan.columns, comparison.notes), predicted


def _write_scores(comparisons, path: Path) -> None:
    frames = [comparison.fold_frame() for comparison in comparisons]
    if len(frames) > 1:
        for frame, comparison in zip(frames, comparisons, strict=True):
            frame.insert(0, "comparison", comparison.title)
    import_extra("pandas").concat(frames, ignore_index=True).to_csv(path, index=False)
