"""The command `gland`, for those who installed the wheel: the same programs, and hints that name the door that was used."""

import pytest
import scripts

from gland import __main__, console


def gland(*arguments, cwd):
    return scripts.run("-m", "gland", *arguments, cwd=cwd)


def test_alone_it_lists_its_programs(tmp_path):
    result = gland(cwd=tmp_path)
    assert result.returncode == 0 and all(f"  {name} " in result.stdout for name in console.PROGRAMS)
    assert set(__main__.PLACES) == set(__main__.SAYS) == set(console.PROGRAMS)


def test_an_unknown_program_is_one_sentence(tmp_path):
    scripts.assert_one_sentence(gland("paint", cwd=tmp_path), "there is no program 'paint'", "train")


@pytest.mark.parametrize("name", console.PROGRAMS)
def test_every_program_has_its_help(name, tmp_path):
    result = gland(name, "--help", cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.startswith("usage: "), result.stderr


def test_hints_and_sentences_name_the_door_that_was_used(tiny_data, tmp_path):
    result = gland("train", *scripts.TINY, "--data", tiny_data, "--out", "run", cwd=tmp_path)
    assert "any image  gland evaluate run --image FILE" in result.stdout, result.stderr
    assert scripts.sentences(gland("evaluate", "nowhere", cwd=tmp_path).stderr)[0].startswith("gland evaluate: ")


def test_in_a_clone_they_name_its_scripts():
    assert console.command("train") == "python train.py" and console.program("train") == "train.py"
    assert console.command("data") == console.program("data") == "python -m gland.data"


def test_what_a_door_prints_names_no_other(tmp_path):
    for said in (
        gland("evaluate", "nowhere", cwd=tmp_path).stderr,
        gland("evaluate", cwd=tmp_path).stderr,
        gland("audit", "--break", "nothing", cwd=tmp_path).stderr,
        gland("doctor", "--help", cwd=tmp_path).stdout,
        gland("audit", "--help", cwd=tmp_path).stdout,
    ):
        assert "gland " in said and not any(script in said for script in console.PROGRAMS.values()), said
