"""Table 1: the plan of jobs, figures with intervals worked by hand, the comparisons in words, and a whole small run."""

import csv
import io
import json
import shutil

import pytest
from made import column, row
from scripts import write_set

from gland.data.splits import BY
from gland.evaluation import scores
from gland.evaluation.scores import COLUMNS, MORE_COLUMNS, difference
from gland.table1 import __main__ as command
from gland.table1 import jobs, runner, table
from gland.training.loop import Training

TINY = ["--crop", "64", "--batch", "2", "--validate-every", "2", "--log-every", "1", "--warmup", "0"]


def options(*arguments):
    return command.parser().parse_known_args(["--data", "d", "--out", "o", *arguments])[0]


def test_all_five_systems_get_one_protocol():
    runs = [job.options for job in jobs.plan(options("--split-by", "image", "--iterations", "100"), [])]
    assert [o.network for o in runs] == ["alexnet", "class", "unet", "seg", "joint"]
    assert {(o.pretrain, o.iterations) for o in runs} == {(0, 100)}
    same = ("batch", "schedule", "warmup", "clip", "scale", "augment", "seed", "split_by")
    assert all(len({getattr(o, name) for o in runs}) == 1 for name in same)
    assert [o.crop for o in runs] == [224, 160, 160, 160, 160]  # AlexNet's input has one size
    alexnet, *others = ((o.solver, o.rate, o.momentum, o.decay) for o in runs)
    assert len(set(others)) == 1 and alexnet == ("adam", 1e-4, 0.9, 1e-2)


def test_folds_splits_and_ablations_multiply():
    plan = jobs.plan(options("--folds", "3", "--ablations"), [])
    assert len(plan) == 2 * 3 * 5 + 3 * len(jobs.ABLATIONS)
    assert len({job.folder for job in plan}) == len(plan)


def test_every_ablation_changes_what_it_says_and_nothing_else():
    plan = jobs.plan(options("--split-by", "visual_field", "--ablations"), [])
    joint = next(job.options.as_json() for job in plan if job.title == "Multi-Loss-Joint")
    for job in plan[5:]:
        changed = {name for name in joint if job.options.as_json()[name] != joint[name]}
        assert changed == set(jobs.ABLATIONS[job.title])


def test_every_way_to_split_has_its_heading():
    assert set(BY) <= set(table.SPLITS)
    for by in BY:
        assert f"by {by.replace('_', ' ')}" in table.markdown([table.Entry(by, "U-Net", [row(dsc=0.5)], 1.0)], [], "")


def test_training_options_hold_for_all_networks():
    assert {job.options.batch for job in jobs.plan(options(), ["--batch", "7"])} == {7}


@pytest.mark.parametrize("wrong", ["--network joint", "--fold 1", "--pretrain=3", "--pretr 3", "--folds 0"])
def test_what_the_table_varies_cannot_be_set(wrong, tmp_path, capsys):
    assert command.main([*wrong.split(), "--out", str(tmp_path / "out")]) == 2
    assert wrong.replace("=", " ").split()[0] in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_is_named_twice_is_done_once():
    once, twice = (jobs.plan(options("--networks", *n), []) for n in (["joint"], ["joint", "joint"]))
    assert [job.folder for job in once] == [job.folder for job in twice]


def test_a_diverged_network_says_so_in_its_row():
    paper = table.PAPER_BY_TITLE["AlexNet"]
    diverged = table.Entry("visual_field", "AlexNet", [], 60.0, "diverged: loss nan", paper)
    text = table.markdown([*entries(), diverged], [], "h")
    assert "| AlexNet | - *83.0* | - | - | - | diverged |" in text


def entries():
    joint = [row(k, k % 2 == 1, class_correct=True, pixel_accuracy=0.9, dsc=0.8 + 0.01 * k) for k in range(6)]
    seg = [r | {"class_correct": None, "dsc": r["dsc"] - 0.1, "pixel_accuracy": 0.9} for r in joint]
    one = [row(k, k % 2 == 1, class_correct=k < 3) for k in range(6)]
    named = ("Multi-Loss-Class", one), ("Multi-Loss-Seg", seg), ("Multi-Loss-Joint", joint)
    return [table.Entry("visual_field", title, rows, 120.0, paper=table.PAPER_BY_TITLE[title]) for title, rows in named]


def test_markdown_shows_ours_beside_the_papers():
    lines = table.markdown(entries(), [], "heading").splitlines()
    joint = next(line for line in lines if line.startswith("| Multi-Loss-Joint"))
    assert "100.0 [100.0, 100.0] *89.0*" in joint and joint.endswith("| 2 |")
    assert "*0.76*" in joint


def test_beside_phantom_images_the_paper_is_not_named():
    painted = [entry._replace(paper={}) for entry in entries()]
    text = table.markdown(painted, [], "heading")
    assert "paper" not in text and "*" not in text
    assert {line["paper"] for line in csv.DictReader(io.StringIO(table.as_csv(painted)))} == {""}


def test_the_comparison_says_who_wins_and_by_how_much():
    text = table.markdown(entries(), [], "heading")
    assert "Joint beats Multi-Loss-Seg in benign DSC: +0.100 [+0.100, +0.100]" in text
    assert "Joint is equal to, within chance, Multi-Loss-Seg in pixel ACC %" in text
    assert "Joint beats Multi-Loss-Class in class ACC %" in text


def test_the_comparison_admits_a_loss():
    *others, joint = entries()
    worse = joint._replace(rows=[r | {"pixel_accuracy": 0.5} for r in joint.rows])
    assert "Joint is worse than Multi-Loss-Seg in pixel ACC %" in table.markdown([*others, worse], [], "heading")


def test_a_smaller_distance_is_better():
    far = [row(k, object_hausdorff=50.0) for k in range(3)]
    near = [r | {"object_hausdorff": 20.0} for r in far]
    change = difference(near, far, column("object Hausdorff"))
    assert table._verdict(change, column("object Hausdorff")) == "Joint beats"


def test_csv_holds_every_figure():
    lines = list(csv.DictReader(io.StringIO(table.as_csv(entries()))))
    assert len(lines) == 3 * len((*COLUMNS, *MORE_COLUMNS))
    found = next(x for x in lines if x["network"] == "Multi-Loss-Joint" and x["column"] == "malignant DSC")
    assert float(found["value"]) == pytest.approx(0.83) and found["paper"] == "0.76" and found["fields"] == "6"


def test_glas_parts_stand_beside_the_published_methods():
    rows = [row(k, object_f1=0.5, true_positives=1, false_positives=0, false_negatives=0) for k in range(3)]
    text = table.markdown([table.Entry("testB", "U-Net", rows, 0.0)], [], "heading")
    assert "| *MILD-Net, published* | - | *0.844* | |" in text
    assert "| U-Net | 0.500 [0.500, 0.500] | 1.000" in text


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    monkeypatch.setattr(scores, "CANDIDATES", {"separation": (0.0, 4.0), "smallest": (1, 400)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of noise, 12 to train and 2 to test, in the released layout."""
    names = [f"{'train' if k < 13 else 'testA'}_{k}" for k in range(1, 15)]
    return write_set(tmp_path_factory.mktemp("noise") / "data", names)


def made(folder, out, options, status=0):
    """Make the table, in 4 steps a network."""
    given = ["--data", str(folder), "--out", str(out), "--iterations", "4", *options.split(), *TINY]
    assert command.main(given) == status


def test_a_whole_table_is_made_and_made_again_without_training(folder, tmp_path, monkeypatch, capsys):
    options = "--networks alexnet class seg --split-by visual_field --width 6"
    made(folder, tmp_path, options)
    first = capsys.readouterr().out
    assert all(f"| {title} |" in first for title in ("AlexNet", "Multi-Loss-Class", "Multi-Loss-Seg"))
    assert {"table1.csv", "table1.md", "table1.png"} <= {p.name for p in tmp_path.iterdir()}
    monkeypatch.setattr(runner, "begin", None)  # nothing may be trained any more
    made(folder, tmp_path, options)
    assert capsys.readouterr().out == first


def test_a_stopped_table_goes_on_to_the_same_scores(folder, tmp_path, monkeypatch):
    def found(out):
        return {f.relative_to(out): json.loads(f.read_text()) | {"seconds": 0} for f in out.rglob(runner.SCORES)}

    whole, parts, options = tmp_path / "whole", tmp_path / "parts", "--networks class joint --split-by image --width 2"
    made(folder, whole, options)
    step, count = Training._step, iter(range(100))

    def stopping(self, *args):
        if next(count) == 6:  # two steps into the second network
            self.save()
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(Training, "_step", stopping)
    made(folder, parts, options, status=130)
    monkeypatch.setattr(Training, "_step", step)
    made(folder, parts, options)
    assert found(parts) == found(whole) and len(found(whole)) == 2


def test_glas_tests_on_the_test_parts(folder, tmp_path, capsys):
    made(folder, tmp_path, "--networks seg --protocol glas --width 2")
    assert "part testA: 2 images" in capsys.readouterr().out
    split = json.loads(next(tmp_path.rglob("config.json")).read_text())["split"]
    assert all(name.startswith("train") for name in split["train"] + split["val"])
    assert sorted(split["test"]) == ["testA_13", "testA_14"] and len(split["train"]) + len(split["val"]) == 12


def test_glas_without_test_parts_is_one_sentence(tiny_data, tmp_path, capsys):
    made(tiny_data, tmp_path / "out", "--protocol glas", status=2)
    assert "testA" in capsys.readouterr().err


ONE = "--networks class --split-by image --width 2"


def test_other_options_do_not_mix_with_finished_runs(folder, tmp_path, capsys):
    made(folder, tmp_path, ONE)
    made(folder, tmp_path, f"{ONE} --rate 0.5", status=2)
    assert "rate" in capsys.readouterr().err
    scores = next(tmp_path.rglob(runner.SCORES))
    whole = scores.read_text()
    for broken in ("", "{}", "[]"):
        scores.write_text(broken)
        made(folder, tmp_path, ONE, status=2)
        assert str(scores) in capsys.readouterr().err
    scores.write_text(whole)
    other = shutil.copytree(folder, tmp_path / "others")
    made(other, tmp_path, ONE, status=2)
    assert str(other) in capsys.readouterr().err


def test_another_way_to_predict_scores_again_and_trains_nothing(folder, tmp_path, monkeypatch):
    def contents():
        return {file.name: file.read_bytes() for file in (tmp_path / "image" / "multi-loss-class").iterdir()}

    made(folder, tmp_path, ONE)
    before = contents()
    monkeypatch.setattr(Training, "run", None)  # would be called to train
    made(folder, tmp_path, f"{ONE} --no-tta")
    after = contents()
    assert {name for name in before if after[name] != before[name]} == {"scores.json"}
    assert "flips" not in (tmp_path / "table1.md").read_text()
    made(folder, tmp_path, ONE)
    assert "flips" in (tmp_path / "table1.md").read_text()
    assert contents()["scores.json"] == before["scores.json"]
