"""`photog serve` on the command line: that it is an extension, and when it refuses to start."""

from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from shared.buckets import FolderBucket
from shared.buckets.base import BucketError
from shared.cli import app, extensions


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.delenv("PHOTOG_TOKEN", raising=False)
    command = ["serve", str(tmp_path / "bucket"), "--port", "0"]
    return lambda *words, **env: CliRunner().invoke(app, [*command, *words], env=env)


def test_a_server_that_nobody_could_call_does_not_start(run):
    refused = run()
    assert refused.exit_code == 2
    assert "photog_check, photog_train_pmml, photog_pre_pmml" in refused.output
    assert "PHOTOG_TOKEN" in refused.output


def test_a_token_for_a_service_that_is_not_served_is_refused(run):
    refused = run("--token", "photog_chek=abc", PHOTOG_TOKEN="secret")
    assert refused.exit_code == 2
    assert "photog_chek" in refused.output


def test_a_service_of_an_unknown_function_is_refused(run):
    refused = run(PHOTOG_TOKEN="secret", PHOTOG_SERVE__SERVICES='{"mine": "chekc"}')
    assert refused.exit_code == 2
    assert "chekc" in refused.output


def test_without_its_packages_the_verb_says_what_to_install_and_the_others_work(monkeypatch, tmp_path):
    missing = EntryPoint("serve", "no_such_package.command:serve", extensions.GROUP)
    monkeypatch.setattr(extensions, "entry_points", lambda group, name="serve": [missing] if name == "serve" else [])
    refused = CliRunner().invoke(app, ["serve", "bucket", "--port", "8080"])
    assert refused.exit_code == 2
    assert "pip install '.[serve]' in photog's checkout" in refused.output
    assert "serve" in CliRunner().invoke(app, ["--help"]).output


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--token", "hidden"], {"PHOTOG_TOKEN": "secret"}),
        ([], {"PHOTOG_SERVE__TOKENS": '{"photog_check": ["hidden"]}'}),
        ([], {"PHOTOG_SERVE__TOKENS": '"hidden"'}),
        ([], {"PHOTOG_SERVE__TOKENS": "{hidden"}),
    ],
)
def test_a_token_that_is_given_wrongly_is_not_repeated(run, words, environment):
    refused = run(*words, **environment)
    assert refused.exit_code == 2
    assert "token" in refused.output
    assert "hidden" not in refused.output


def test_a_bucket_that_cannot_be_read_ends_the_start_with_the_status_that_supervisors_restart_on(
    run, monkeypatch, tmp_path, caplog
):
    def fail(bucket, prefix):
        raise BucketError("no answer from the store")

    monkeypatch.setattr(FolderBucket, "list", fail)
    ended = run("--state", str(tmp_path / "state"), PHOTOG_TOKEN="secret")
    assert ended.exit_code == 75
    assert "cannot begin: no answer from the store" in caplog.text
    assert [one for one in caplog.records if one.exc_info] == []


def test_a_state_that_cannot_be_kept_is_one_clear_line(run, tmp_path):
    (tmp_path / "file").write_text("no folder")
    refused = run("--state", str(tmp_path / "file"), PHOTOG_TOKEN="secret")
    assert refused.exit_code == 2
    assert "cannot hold the state" in refused.output
