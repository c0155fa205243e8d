"""`gate`: may a study leave, and the signed receipts that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicomnode.app import gate_tables, tables
from dicomnode.commands import gate_door, gate_lists
from dicomnode.commands.common import (
    AsJson,
    Config,
    Project,
    err,
    existing_database,
    quiet_settings,
    say,
    show,
)
from dicomnode.config import Settings
from dicomnode.config_policy import DEFAULT_PROJECT
from dicomnode.domain import GateOutcome
from dicomnode.errors import ConfigurationError, ReceiptError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from dicomnode.gate.receipt import SignedReceipt

EXIT_CODES = {GateOutcome.RELEASE: 0, GateOutcome.HOLD: 3, GateOutcome.UNKNOWN_STUDY: 4}

app = typer.Typer(no_args_is_help=True, help="May a study leave? Decisions and signed receipts.")
app.command("list")(gate_lists.gate_list)
app.command("folder")(gate_lists.gate_folder)
for command in (gate_door.serve, gate_door.waiting, gate_door.discard):
    app.command()(command)


@app.command()
def decide(
    study_uid: Annotated[str, typer.Argument(help="Study Instance UID.")],
    project: Project = DEFAULT_PROJECT,
    receipt: Annotated[
        Path | None, typer.Option(help="Write the receipt of a release to this new file.")
    ] = None,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """May this study leave? Exit code 0 release, 3 hold, 4 unknown study.

    With gate.key_file, a release gets a signed receipt.
    """
    from dicomnode.gate.issuing import decide_and_issue, decide_study
    from dicomnode.gate.policy import policy_of
    from dicomnode.inference.examiner import installed_examiner

    settings = quiet_settings(config)
    key = _signing_key(settings, receipt)
    database = existing_database(settings)
    wanted, policy = installed_examiner(settings).wanted_digest, policy_of(settings, project)
    if key is None:
        decided = decide_study(database, study_uid, policy, wanted)
    else:
        decided = decide_and_issue(database, key, study_uid, policy, wanted)
    show(tables.gate(decided.decision), decided.decision, json_)
    if decided.signed is not None:
        _hand_over(decided.signed, receipt)
    raise typer.Exit(EXIT_CODES[decided.decision.outcome])


@app.command()
def verify(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECEIPT",
            help="A receipt. Then more of them, whose chain is checked too, and files or folders.",
        ),
    ],
    public_key: Annotated[Path, typer.Option(help="The .pub file of the node that signed.")],
    files: Annotated[
        list[Path] | None,
        typer.Option(help="A file, or a folder of files, that was handed over; may be repeated."),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Were these files released? Needs neither a database nor a configuration.

    Exit code 0 where the receipts are genuine and every file given is one of theirs, else 1.
    """
    from dicomnode.gate import keys, receipt, verification

    key = keys.public_key(public_key)
    receipts, handed_over = _parted(paths)
    signed = [receipt.read(path.read_bytes(), str(path)) for path in receipts]
    # An export has its receipts beside its files; those that were given are judged themselves.
    given = {path.resolve() for path in receipts}
    every = [file for path in (*handed_over, *(files or ())) for file in _files_in(path)]
    every = [file for file in every if file.resolve() not in given]
    found = verification.verify(signed, key, every)
    show(gate_tables.verification(found), found, json_)
    if not found.is_proven:
        raise typer.Exit(1)


@app.command()
def keygen(file: Annotated[Path, typer.Argument(help="The new key; FILE.pub beside it.")]) -> None:
    """Make a key to sign receipts with, for gate.key_file, and its public half."""
    from dicomnode.gate import keys

    public_file = keys.generate(file)
    say(f"{file}: the key; keep it to the node's own account, and name it in gate.key_file")
    say(f"{public_file}: give it to whoever verifies; its id is {_id(public_file)}")


@app.command("receipts")
def list_receipts(
    study: Annotated[str | None, typer.Option(help="Only of this Study Instance UID.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 100,
    json_: AsJson = False,
    config: Config = None,
) -> None:
    """The receipts that were issued; --json has each document whole."""
    from dicomnode.tracking.receipts import newest

    with existing_database(quiet_settings(config)).read() as connection:
        found = newest(connection, limit, study)
    show(gate_tables.receipts(found), found, json_)


def _signing_key(settings: Settings, receipt: Path | None) -> Ed25519PrivateKey | None:
    """Looked at before anything is decided: a release must not end without its receipt."""
    from dicomnode.gate.keys import private_key

    if receipt is not None and receipt.exists():
        raise ReceiptError(f"{receipt} is there already: name a new file")
    if receipt is not None and not receipt.absolute().parent.is_dir():
        raise ReceiptError(f"{receipt}: its folder does not exist")
    if settings.gate.key_file is not None:
        return private_key(settings.gate.key_file)
    if receipt is not None:
        raise ConfigurationError("gate.key_file: needed for --receipt: dicomnode gate keygen FILE")
    return None


def _hand_over(issued: SignedReceipt, file: Path | None) -> None:
    number = issued.receipt.number
    if file is not None:
        with file.open("x", encoding="ascii") as stream:
            stream.write(f"{issued.document}\n")
    where = f"written to {file}" if file else "kept in the database: dicomnode gate receipts --json"
    err.print(f"receipt {number}, {where}", highlight=False, markup=False, soft_wrap=True)


def _parted(paths: Sequence[Path]) -> tuple[Sequence[Path], Sequence[Path]]:
    """Receipts, and what was handed over. The first is a receipt, or none is one."""
    from dicomnode.gate.verification import is_receipt

    first, *others = paths
    receipts = [first, *(path for path in others if is_receipt(path))]
    return receipts, [path for path in others if path not in receipts]


def _files_in(path: Path) -> list[Path]:
    """An empty folder proves nothing, and must not look as if it did."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.rglob("*") if each.is_file())
    if not found:
        raise ReceiptError(f"{path}: there is no file in this folder")
    return found


def _id(public_file: Path) -> str:
    from dicomnode.gate import keys

    return keys.key_id(keys.public_key(public_file))
