"""``redraft doctor``: a line and a fix for everything that Redraft stands on; exit 0 fine, 1 something failed."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add ``doctor`` to the application."""

    @app.command()
    def doctor(
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Check Python, SQLite, the model libraries, GPU, model, data, disk, backups, settings and chats."""
        from admin.doctor import examine

        if json_:
            from dataclasses import asdict

            from admin.report import print_json

            findings = list(examine())
            print_json([asdict(finding) for finding in findings])
        else:
            from rich.text import Text

            from admin.present import plain_console
            from engine.text.safety import visible

            out, findings = plain_console(), []
            marks = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}
            for finding in examine():
                findings.append(finding)
                out.print(Text.assemble(marks[finding.status], f" {finding.name:<15} {visible(finding.finding)}"))
                if finding.fix:
                    out.print(f"     {'':<15} -> {visible(finding.fix)}")
        if any(finding.status == "fail" for finding in findings):
            raise typer.Exit(1)
