"""`aaronnet doctor`: what this machine can do, and what to install for the rest."""

from dataclasses import asdict

from models.cli import Json


def doctor(json: Json = None) -> None:
    """Say what this machine can do, and what to install for the rest.

    Exit code 1 if something is missing that the default chain needs.
    """
    from deploy.doctor import examine
    from models.console import out, print_table
    from models.errors import CheckFailed
    from models.files import write_json

    findings = examine()
    if json:
        write_json(json, {"tools": [asdict(finding) for finding in findings]})
    print_table(
        "this machine",
        ("tool", "found", "gives"),
        [(one.tool, one.found or "-", one.gives) for one in findings],
    )
    for one in findings:
        if one.get:
            out.print(f"{one.tool}: {one.get}", soft_wrap=True)
    missing = [one.tool for one in findings if one.needed and not one.found]
    if missing:
        raise CheckFailed(f"the default chain needs what is missing: {', '.join(missing)}")
